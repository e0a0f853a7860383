"""A run folder as one page to read, and several runs side by side.

The pages need nothing but themselves: no network, no script. All text that comes from files is
escaped and cut to a sane length, since reasons are the clients' own words.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.files import write_text
from bract.results.report.chart import Line, chart
from bract.results.report.html import NONE, Row, as_text, escaped, grid, page, show, table
from bract.results.run_folder import read_rows
from bract.settings.flat import flatten
from bract.settings.schema import Settings
from bract.tasks.registry import task_of

ROUND = [
    "round",
    "accuracy",
    "accuracy_margin",
    "accuracy_mean",
    "accuracy_std",
    "accuracy_worst",
    "loss",
    "test_accuracy",
    "test_loss",
    "train_loss",
    "clients",
    "failed",
    "abstained",
    "upload_bytes",
    "download_bytes",
    "evaluate_bytes",
    "upload_values",
    "epsilon",
    "seconds",
]
CLIENT = [
    "partition",
    "status",
    "examples",
    "held_out",
    "accuracy",
    "accuracy_margin",
    "loss",
    "steps",
    "rank",
    "upload_bytes",
    "download_bytes",
    "upload_values",
    "seconds",
    "busy",
]

# Of the diagnostics' matrices: the means between clients, by the heads of the report's columns.
COMPARED = {
    "update_similarity_A": "Similarity of A’s changes",
    "update_similarity_B": "of B’s",
    "distance_A": "Distance of A’s",
    "distance_B": "of B’s",
    "slot_overlap": "Overlap of slots",
}


@dataclass(frozen=True)
class Run:
    """What a run folder holds. `summary` is empty while the run is not, or no longer, finished."""

    name: str
    settings: Row
    rounds: Sequence[Row]
    clients: Sequence[Row]
    diagnostics: Sequence[Row]
    summary: Row

    @property
    def score(self) -> str:
        """The figure by which a run of its task is judged."""
        return task_of(str(self.settings.get("model.task", "classify"))).score

    def figure(self, key: str) -> Any:
        """Return the summary's figure; where it has none, the rounds' sum, or the latest known."""
        known = [row[key] for row in self.rounds if row.get(key) is not None]
        so_far = sum(known) if key.endswith(("bytes", "seconds")) else known[-1] if known else None
        return self.summary.get(key, so_far)


SUMMED = '<p class="note">The server saw sums over clients alone: nobody knows a single client’s figures.</p>'


def report(folder: Path) -> Path:
    """Write the folder's ``report.html`` atomically and return its path.

    Guaranteed: a run that is unfinished is reported as far as it went, and the page says so.
    Raises `BractError`, and writes nothing, if the folder is no run folder.
    """
    run, target = _load(folder), folder / "report.html"
    figures = _figures(run)
    what = f"final {run.score}" if run.summary else f"unfinished, {run.score}"
    title = f"{figures['Strategy']}, {what} {figures[f'Final {run.score}']}"
    write_text(target, page(title, f"Run {run.name}", _one(run, figures)))
    return target


def compare(folders: Sequence[Path], target: Path) -> Path:
    """Write one page with the runs side by side, atomically, and return its path.

    Raises `BractError`, and writes nothing, if there are no folders or one is no run folder.
    """
    if not folders:
        raise BractError("there is nothing to compare: name at least one run folder")
    runs = [_load(folder) for folder in folders]
    if len({run.score for run in runs}) > 1:
        raise BractError("runs of different tasks cannot be compared: they are judged by different figures")
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=str(path.resolve())) for run, path in zip(runs, folders, strict=True)]
    write_text(target, page("Runs side by side", ", ".join(run.name for run in runs), _several(runs)))
    return target


def _load(folder: Path) -> Run:
    for name in ("settings.toml", "rounds.jsonl"):
        if not (folder / name).is_file():
            raise BractError(f"{folder} is not a run folder: it has no {name}")
    try:
        settings = flatten(tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8")))
        path = folder / "summary.json"
        summary = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise BractError(f"{folder}: settings.toml or summary.json cannot be read: {error}") from error
    # Rounds that a resumed run went through again count once, as they went the last time.
    rounds = {row["round"]: row for row in read_rows(folder / "rounds.jsonl")}
    clients = {(row["round"], row["partition"]): row for row in read_rows(folder / "clients.jsonl")}
    diagnostics = {row["round"]: row for row in read_rows(folder / "pictures.jsonl")}
    if summary.get("rounds", 0) < max(rounds, default=0):
        summary = {}  # left from before the run was resumed
    return Run(folder.resolve().name, settings, _ordered(rounds), _ordered(clients), _ordered(diagnostics), summary)


def _ordered(rows: Mapping[Any, Row]) -> list[Row]:
    return [rows[key] for key in sorted(rows)]


def _figures(run: Run) -> dict[str, str]:
    rounds, epsilon, delta = run.rounds, run.figure("epsilon"), run.summary.get("delta")
    score = run.score
    last, clients = run.figure(score), {row["partition"] for row in run.clients}
    so_far = "" if run.summary else " so far"
    margin = run.figure(f"{score}_margin")
    noise = "" if margin is None else f" ± {show(score, margin)} (noise, 95 in 100)"
    of = "" if run.summary else f" of {as_text(run.settings.get('rounds'))}, unfinished"
    at = "" if delta is None else f", δ = {show('epsilon', delta)}"
    units = {"client": ", each client, by a trusted server", "person": ", each person"}
    at += units.get(str(run.settings.get("privacy.unit")), "")
    return {
        "Strategy": str(run.summary.get("strategy") or run.settings.get("strategy.name", NONE)),
        f"Final {score}": "not measured" if last is None else show(score, last) + noise + so_far,
        "Untrained start": show(score, rounds[0][score] if rounds else None),
        "Rounds": show("round", rounds[-1]["round"] if rounds else None) + of,
        "Clients": show("clients", len(clients) or max((row["clients"] for row in rounds), default=None)),
        "Bytes up": show("bytes", run.figure("upload_bytes")),
        "Bytes down": show("bytes", run.figure("download_bytes")),
        "Seconds": show("seconds", run.figure("seconds")),
        "Privacy": "no differential privacy" if epsilon is None else f"ε = {show('epsilon', epsilon)}{at}",
    }


def _one(run: Run, figures: Mapping[str, str]) -> str:
    rounds = [row["round"] for row in run.rounds]
    lines = [
        _line("clients’ held-out examples", run, run.score, rounds),
        _line("server’s test set", run, f"test_{run.score}", rounds),
    ]
    if lines[1][1]:
        figures = {**figures, f"Test set {run.score}": show(run.score, run.figure(f"test_{run.score}"))}
    last = run.clients[-1]["round"] if run.clients else 0
    latest = [row for row in run.clients if row["round"] == last]
    for at, row in enumerate(latest):
        if row["status"] != "merged":  # nothing was trained or measured: zeros would say otherwise
            latest[at] = {key: value for key, value in row.items() if value or key == "partition"}
    wrong: dict[tuple[str, ...], list[str]] = {}
    for row in run.clients:
        if row["status"] in ("failed", "refused"):
            what = str(row["partition"]), str(row["status"]), str(row.get("reason") or NONE)
            wrong.setdefault(what, []).append(str(row["round"]))
    faults = [(*what, ", ".join(when)) for what, when in wrong.items()]
    default = Settings().flat()
    settings = [
        (key, as_text(value), "" if default.get(key) == value else f"default: {as_text(default.get(key))}")
        for key, value in run.settings.items()
    ]
    versions = [(str(name), as_text(version)) for name, version in run.summary.get("versions", {}).items()]
    summed = run.settings.get("federation.sum", "plain") != "plain"
    parts = [
        "" if run.summary else '<p class="note">This run is unfinished: it has written no summary.</p>',
        "<dl>",
        *(f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>" for name, value in figures.items()),
        "</dl>",
        chart(f"{run.score.capitalize()} by round", [line for line in lines if line[1]], "Round", "round", run.score),
        table("What went wrong", ("Client", "What", "Reason", "Rounds"), faults, words=4),
        table("Rounds", *grid(_scored(ROUND, run.score), run.rounds)),
        table("Clients compared", *_compared(run.diagnostics)),
        SUMMED if summed else "",
        table(f"Clients in round {last}", *grid(_scored(CLIENT, run.score), latest), words=2),
        table("Settings", ("Setting", "Value", "Changed from"), settings, words=3),
        table("Versions", ("Of", "Version"), versions, words=2),
    ]
    return "".join(parts)


def _scored(columns: Sequence[str], score: str) -> list[str]:
    """The columns for a task that is judged by another figure than accuracy."""
    return list(dict.fromkeys(column.replace("accuracy", score) for column in columns))


def _compared(diagnostics: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Means over pairs of different clients, and the mean rank, by round; without what is nowhere known."""
    known = [key for key in COMPARED if any(len(row.get(key) or []) > 1 for row in diagnostics)]
    rows = []
    for row in diagnostics:
        ranks = row.get("ranks") or []
        means = [mean_between(row.get(key) or []) for key in known]
        cells = [NONE if mean is None else f"{mean:.3f}" for mean in means]
        rows.append([str(row["round"]), *cells, f"{sum(ranks) / len(ranks):.3g}" if ranks else NONE])
    return ["Round", *(COMPARED[key] for key in known), "Ranks"], rows


def mean_between(matrix: Sequence[Sequence[float]]) -> float | None:
    """The mean over pairs of different clients; None where there are none."""
    others = [value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j]
    return sum(others) / len(others) if others else None


def _several(runs: Sequence[Run]) -> str:
    figures = [_figures(run) for run in runs]
    results = [(run.name, *shown.values()) for run, shown in zip(runs, figures, strict=True)]
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = [(key, *(as_text(run.settings.get(key, NONE)) for run in runs)) for key in keys]
    differing = [row for row in values if len(set(row[1:])) > 1]
    score = runs[0].score.capitalize()
    by_round, by_bytes = [], []
    for run in runs:
        sent = accumulate(row["upload_bytes"] + row["download_bytes"] for row in run.rounds)
        by_round.append(_line(run.name, run, run.score, [row["round"] for row in run.rounds]))
        by_bytes.append(_line(run.name, run, run.score, sent))
    heads = ("Setting", *(run.name for run in runs))
    parts = [
        chart(f"{score} by round", by_round, "Round", "round", runs[0].score),
        chart(f"{score} by bytes sent", by_bytes, "Bytes up and down since the start", "bytes", runs[0].score),
        table("Results", ("Run", *figures[0]), results, words=2),
        table("Settings that differ", heads, differing, words=len(heads))
        or "<h2>Settings that differ</h2><p>None.</p>",
    ]
    return "".join(parts)


def _line(name: str, run: Run, key: str, across: Iterable[float]) -> Line:
    measured = [(x, row.get(key)) for x, row in zip(across, run.rounds, strict=True)]
    return name, [(x, y) for x, y in measured if y is not None and math.isfinite(y)]
