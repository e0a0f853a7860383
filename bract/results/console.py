"""What a person sees of a run: its lines as they come, and the result at its end."""

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bract.errors import one_line
from bract.files import home
from bract.results.run_folder import read_rows
from bract.tasks.registry import task_of

MARK = "[bract] "
CLIENTS = re.compile(r"round \d+/\d+: (\d+) of (\d+) clients")
QUIET_SECONDS = 10.0  # between two lines about clients where the output is no terminal


@dataclass
class Outcome:
    """What the run said of itself."""

    folder: Path | None = None
    error: str = ""
    lines: int = 0  # of the log that have been read: one that is followed again begins anew


def follow(lines: Iterable[str], outcome: Outcome | None = None) -> Outcome:
    """Show the run's own lines among Flower's. On a terminal the clients' line is rewritten in place.

    A line is the run's own if it begins with the mark: a client's words never begin a line.
    """
    outcome, number = outcome or Outcome(), 0
    screen = sys.stdout.isatty()
    shown, open_line = time.monotonic(), False
    for number, line in enumerate(lines, start=1):
        if number <= outcome.lines or not line.startswith(MARK):
            continue
        text = one_line(line.removeprefix(MARK))
        if text.startswith("run folder "):
            outcome.folder = Path(text.removeprefix("run folder "))
        if text.startswith("error: "):
            outcome.error = text.removeprefix("error: ")
            continue
        clients = CLIENTS.match(text)
        if clients and screen:
            print(f"\r\x1b[K{text}", end="", flush=True)
            open_line = True
            continue
        if clients and time.monotonic() - shown < QUIET_SECONDS:
            continue
        print(f"\r\x1b[K{text}" if open_line else text, flush=True)
        shown, open_line = time.monotonic(), False
    outcome.lines = max(outcome.lines, number)
    if open_line:
        print()
    return outcome


def note(text: str) -> None:
    """A line of the command's own."""
    print(text, flush=True)


def show_result(folder: Path | None) -> None:
    """The table of the rounds and where everything is; for a run on this machine."""
    summary = folder / "summary.json" if folder else None
    if folder is None or summary is None or not summary.is_file():
        print(f"completed; its results are on the server's machine{f', in {folder}' if folder else ''}")
        return
    rows = read_rows(folder / "rounds.jsonl")
    print()
    totals: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    print(table(rows, score_of(totals)))
    print()
    print(f"strategy  {totals['strategy']}")
    print(f"report    {folder / 'report.html'}")
    print(f"adapter   {totals['adapter']}")
    if totals.get("personal"):
        print(f"personal  {home() / totals['personal']} (each client's own model, on its own machine)")
    print(f"results   {folder}")
    print(f"privacy   {privacy_words(totals)}")
    score, between = score_of(totals), ""
    if totals.get(f"{score}_mean") is not None:
        between = f"; clients' mean {totals[f'{score}_mean']:.4f}, worst tenth {totals[f'{score}_worst']:.4f}"
    shown = _figure(totals[score], totals.get(f"{score}_margin"))
    print(f"{score} {shown} after {totals['rounds']} rounds{between}")


def privacy_words(totals: dict[str, Any]) -> str:
    """What a run guarantees, in a line, from its summary."""
    unit, epsilon = totals.get("privacy", "none"), totals["epsilon"]
    if unit == "none":
        return "none: nothing bounds what the clients' parts tell about their data (privacy.unit)"
    if epsilon is None:
        return f"each {unit}: epsilon is not known; privacy.md says why"
    trusted = unit == "client" and totals.get("noise", "local") == "local"
    by = ", towards everyone but the server" if trusted else ""
    return f"each {unit}: epsilon {epsilon:.3g} at delta {totals['delta']:g}{by}; privacy.md says what that covers"


def show_price(folders: Mapping[str, Path | None]) -> None:
    """The last lines of runs that differ in their privacy, the first of them private: what it gave and what it cost."""
    read = {name: json.loads((f / "summary.json").read_text(encoding="utf-8")) for name, f in folders.items() if f}
    first: dict[str, Any] = next(iter(read.values()), {})
    score = score_of(first)
    if len(read) < len(folders) or any(totals[score] is None for totals in read.values()):
        print(f"price     not known: one of the runs measured no {score}")
        return
    print()
    print(f"privacy   {privacy_words(first)}")
    for name, totals in read.items():
        rounds, up = totals["rounds"], totals["upload_bytes"]
        shown = _figure(totals[score], totals.get(f"{score}_margin"))
        print(f"price     {score} {shown} {name} ({rounds} rounds, {up / 1e6:.1f} MB up)")


def score_of(totals: dict[str, Any]) -> str:
    """The figure by which a run is judged, from its summary."""
    return task_of(totals.get("task", "classify")).score


def table(rows: list[dict[str, Any]], score: str) -> str:
    """Score, bytes and seconds by round."""
    wide = 8 if all(row.get(f"{score}_margin") is None for row in rows) else 17
    lines = [f"round  {score:>{wide}}     bytes up   bytes down   seconds"]
    for row in rows:
        down = row["download_bytes"] + row["evaluate_bytes"]
        shown = _figure(row[score], row.get(f"{score}_margin"))
        lines.append(
            f"{row['round']:>5}  {shown:>{wide}}  {row['upload_bytes']:>11,}  {down:>11,}  {row['seconds']:>8.1f}"
        )
    up = sum(row["upload_bytes"] for row in rows)
    down = sum(row["download_bytes"] + row["evaluate_bytes"] for row in rows)
    lines.append(f"{'sum':>5}  {'':>{wide}}  {up:>11,}  {down:>11,}  {sum(row['seconds'] for row in rows):>8.1f}")
    return "\n".join(lines)


def with_margin(figure: float, margin: float | None) -> str:
    """A figure, and how far the noise in it may have moved it, 95 times in 100; a margin of None is none."""
    return f"{figure:.4f}" if margin is None else f"{figure:.4f} ± {margin:.4f}"


def _figure(score: float | None, margin: float | None = None) -> str:
    return "-" if score is None else with_margin(score, margin)
