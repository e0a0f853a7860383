"""A run folder as one page to read, and several runs side by side.

The pages need nothing but themselves: no network, no script. All text that comes from files is
escaped and cut to a sane length, since reasons are the clients' own words.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.files import write_text
from bract.settings import Settings

Row = Mapping[str, Any]
Line = tuple[str, list[tuple[float, float]]]  # of a chart: its name and its points
NONE, LONGEST = "–", 400  # what is not known; how many characters of a text from a file are shown
SPECS = {"accuracy": ".1%", "loss": ".4f", "seconds": ",.1f", "busy": ",.1f", "epsilon": ".3g"}
ROUND = (
    "round accuracy loss test_accuracy test_loss train_loss clients failed abstained upload_bytes "
    "download_bytes evaluate_bytes upload_values epsilon seconds"
).split()
CLIENT = (
    "partition status examples held_out accuracy loss steps upload_bytes download_bytes upload_values "
    "seconds busy"
).split()
DASHES = ("none", "7 4", "2 3", "10 3 2 3", "14 4")  # with 6 colours: 30 lines, no two the same
# The lines' hues are Okabe and Ito's, moved to a contrast of 4.5 or more on either ground.
STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1c2024;--dim:#5a636b;--rule:#d9dee2;--l0:#0072b2;--l1:#c04f00;
 --l2:#007a58;--l3:#a8437f;--l4:#5c5c5c;--l5:#806600}
@media screen and (prefers-color-scheme:dark){:root{--bg:#14181b;--ink:#e6e9eb;--dim:#9aa5ad;--rule:#343b41;
 --l0:#63b8f0;--l1:#ff9147;--l2:#35cfa2;--l3:#ee9fcd;--l4:#c8c8c8;--l5:#eedd55}}
body{margin:0 auto;max-width:62rem;padding:2.5rem 1.25rem;background:var(--bg);color:var(--ink);
 font:1rem/1.5 system-ui,sans-serif}h1,h2,p,dd{overflow-wrap:anywhere}
h1{font-size:1.75rem;line-height:1.2;margin:0}h2{font-size:1.125rem;margin:2.5rem 0 .75rem}
.sub,dt,thead th{color:var(--dim)}.sub{margin:.25rem 0 1.5rem}
.note{border-left:3px solid var(--l1);padding:.25rem .75rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:1rem 1.5rem;margin:0}
dt{font-size:.8125rem}dd{margin:0;font-size:1.25rem}dd,table,svg{font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}table{border-collapse:collapse;min-width:50%;font-size:.875rem}
th,td{padding:.3rem 1rem .3rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);
 font-weight:400}thead th{vertical-align:bottom}.n{text-align:right}
td.n,th[scope=row]{white-space:nowrap}
section[class=settings] tr:has(td:last-child:not(:empty))>*{font-weight:650}
figure{margin:0;overflow-x:auto}figure>svg{min-width:34rem}
figcaption{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif;fill:var(--ink)}
figcaption span{display:flex;gap:.5rem;align-items:center;font-size:.875rem}figcaption svg{width:2.5rem}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.grid{stroke:var(--rule)}.dim{fill:var(--dim)}
.value{font-weight:600;paint-order:stroke;stroke:var(--bg);stroke-width:3px}
@media print{body{max-width:none;padding:0;font-size:10pt}figure,tr,dl{break-inside:avoid}
 h2{break-after:avoid}.wide{overflow:visible}table{font-size:7.5pt}th,td{padding-right:.5em}}
"""


@dataclass(frozen=True)
class Run:
    """What a run folder holds. `summary` is empty while the run is not, or no longer, finished."""

    name: str
    settings: Row
    rounds: Sequence[Row]
    clients: Sequence[Row]
    summary: Row

    def figure(self, key: str) -> Any:
        """The summary's figure; where it has none, the rounds' sum, or the latest that is known."""
        known = [row[key] for row in self.rounds if row.get(key) is not None]
        so_far = sum(known) if key.endswith(("bytes", "seconds")) else known[-1] if known else None
        return self.summary.get(key, so_far)


def report(folder: Path) -> Path:
    """Write the folder's ``report.html`` atomically and return its path.

    Guaranteed: a run that is unfinished is reported as far as it went, and the page says so.
    Raises `BractError`, and writes nothing, if the folder is no run folder.
    """
    run, target = _load(folder), folder / "report.html"
    figures = _figures(run)
    what = "final accuracy" if run.summary else "unfinished, accuracy"
    title = f"{figures['Strategy']}, {what} {figures['Final accuracy']}"
    write_text(target, _page(title, f"Run {run.name}", _one(run, figures)))
    return target


def compare(folders: Sequence[Path], target: Path) -> Path:
    """Write one page with the runs side by side, atomically, and return its path.

    Raises `BractError`, and writes nothing, if there are no folders or one is no run folder.
    """
    if not folders:
        raise BractError("there is nothing to compare: name at least one run folder")
    runs = [_load(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=str(path.resolve())) for run, path in zip(runs, folders, strict=True)]
    write_text(target, _page("Runs side by side", ", ".join(run.name for run in runs), _several(runs)))
    return target


def _load(folder: Path) -> Run:
    for name in ("settings.toml", "rounds.jsonl"):
        if not (folder / name).is_file():
            raise BractError(f"{folder} is not a run folder: it has no {name}")
    try:
        settings = _flat(tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8")))
        path = folder / "summary.json"
        summary = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise BractError(f"{folder}: settings.toml or summary.json cannot be read: {error}") from error
    # Rounds that a resumed run went through again count once, as they went the last time.
    rounds = {row["round"]: row for row in _rows(folder / "rounds.jsonl")}
    clients = {(row["round"], row["partition"]): row for row in _rows(folder / "clients.jsonl")}
    if summary.get("rounds", 0) < max(rounds, default=0):
        summary = {}  # left from before the run was resumed
    return Run(folder.resolve().name, settings, _ordered(rounds), _ordered(clients), summary)


def _rows(path: Path) -> list[Row]:
    """The file's rows, none if there is no file; a last row that was cut short does not count."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise BractError(f"{path}, line {number}: should be a JSON object: {error}") from error
    return rows


def _ordered(rows: Mapping[Any, Row]) -> list[Row]:
    return [rows[key] for key in sorted(rows)]


def _flat(values: Row, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _show(key: str, value: Any) -> str:
    """A figure as people read it; the end of its key says what it counts."""
    if isinstance(value, str) or not isinstance(value, int | float):
        return value if isinstance(value, str) else NONE
    if key.endswith("bytes"):
        power = next((k for k in range(4) if value < 999.5 * 1000**k), 4)
        return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
    return format(value, next((spec for end, spec in SPECS.items() if key.endswith(end)), ",.0f"))


def _text(value: Any) -> str:
    return value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _e(text: str) -> str:
    """Text as HTML: whatever it holds, it is only text, and what cannot be printed is made visible."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST])
    return escape(shown + "…" * (len(text) > LONGEST))


def _figures(run: Run) -> dict[str, str]:
    rounds, epsilon, delta = run.rounds, run.figure("epsilon"), run.summary.get("delta")
    accuracy, clients = run.figure("accuracy"), {row["partition"] for row in run.clients}
    so_far = "" if run.summary else " so far"
    of = "" if run.summary else f" of {_text(run.settings.get('rounds'))}, unfinished"
    at = "" if delta is None else f", δ = {_show('epsilon', delta)}"
    return {
        "Strategy": str(run.summary.get("strategy") or run.settings.get("strategy.name", NONE)),
        "Final accuracy": "not measured" if accuracy is None else _show("accuracy", accuracy) + so_far,
        "Untrained start": _show("accuracy", rounds[0]["accuracy"] if rounds else None),
        "Rounds": _show("round", rounds[-1]["round"] if rounds else None) + of,
        "Clients": _show("clients", len(clients) or max((row["clients"] for row in rounds), default=None)),
        "Bytes up": _show("bytes", run.figure("upload_bytes")),
        "Bytes down": _show("bytes", run.figure("download_bytes")),
        "Seconds": _show("seconds", run.figure("seconds")),
        "Privacy": "no differential privacy" if epsilon is None else f"ε = {_show('epsilon', epsilon)}{at}",
    }


def _one(run: Run, figures: Mapping[str, str]) -> str:
    rounds = [row["round"] for row in run.rounds]
    lines = [
        _line("clients’ held-out examples", run, "accuracy", rounds),
        _line("server’s test set", run, "test_accuracy", rounds),
    ]
    if lines[1][1]:
        figures = {**figures, "Test set accuracy": _show("accuracy", run.figure("test_accuracy"))}
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
        (key, _text(value), "" if default.get(key) == value else f"default: {_text(default.get(key))}")
        for key, value in run.settings.items()
    ]
    versions = [(str(name), _text(version)) for name, version in run.summary.get("versions", {}).items()]
    parts = [
        "" if run.summary else '<p class="note">This run is unfinished: it has written no summary.</p>',
        "<dl>",
        *(f"<div><dt>{name}</dt><dd>{_e(value)}</dd></div>" for name, value in figures.items()),
        "</dl>",
        _chart("Accuracy by round", [line for line in lines if line[1]], "Round", "round"),
        _table("What went wrong", ("Client", "What", "Reason", "Rounds"), faults, words=4),
        _table("Rounds", *_grid(ROUND, run.rounds)),
        _table(f"Clients in round {last}", *_grid(CLIENT, latest), words=2),
        _table("Settings", ("Setting", "Value", "Changed from"), settings, words=3),
        _table("Versions", ("Of", "Version"), versions, words=2),
    ]
    return "".join(parts)


def _several(runs: Sequence[Run]) -> str:
    figures = [_figures(run) for run in runs]
    results = [(run.name, *shown.values()) for run, shown in zip(runs, figures, strict=True)]
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    values = [(key, *(_text(run.settings.get(key, NONE)) for run in runs)) for key in keys]
    differing = [row for row in values if len(set(row[1:])) > 1]
    by_round, by_bytes = [], []
    for run in runs:
        sent = accumulate(row["upload_bytes"] + row["download_bytes"] for row in run.rounds)
        by_round.append(_line(run.name, run, "accuracy", [row["round"] for row in run.rounds]))
        by_bytes.append(_line(run.name, run, "accuracy", sent))
    heads = ("Setting", *(run.name for run in runs))
    parts = [
        _chart("Accuracy by round", by_round, "Round", "round"),
        _chart("Accuracy by bytes sent", by_bytes, "Bytes up and down since the start", "bytes"),
        _table("Results", ("Run", *figures[0]), results, words=2),
        _table("Settings that differ", heads, differing, words=len(heads))
        or "<h2>Settings that differ</h2><p>None.</p>",
    ]
    return "".join(parts)


def _line(name: str, run: Run, key: str, across: Iterable[float]) -> Line:
    measured = [(x, row.get(key)) for x, row in zip(across, run.rounds, strict=True)]
    return name, [(x, y) for x, y in measured if y is not None and math.isfinite(y)]


# -- HTML -----------------------------------------------------------------------------------


def _page(title: str, below: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{_e(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{STYLE}</style></head>
<body><main><h1>{_e(title)}</h1><p class="sub">{_e(below)}</p>{body}</main></body></html>
"""


def _grid(keys: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of a table of rows, without the keys of which nothing is known."""
    known = [key for key in keys if any(row.get(key) is not None for row in rows)]
    cells = [[_show(key, row.get(key)) for key in known] for row in rows]
    return [key.replace("_", " ").capitalize() for key in known], cells


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 0) -> str:
    """A table under its title, or nothing if it has no rows; after `words` columns come numbers."""
    kinds = ["w" if at < words else "n" for at in range(len(heads))]
    head = "".join(f'<th scope="col" class="{k}">{_e(h)}</th>' for k, h in zip(kinds, heads, strict=True))
    body = ""
    for first, *others in rows:
        cells = "".join(f'<td class="{k}">{_e(cell)}</td>' for k, cell in zip(kinds[1:], others, strict=True))
        body += f'<tr><th scope="row" class="{kinds[0]}">{_e(first)}</th>{cells}</tr>\n'
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    begin = f'<section class="{_e(title.lower())}"><h2>{_e(title)}</h2><div class="wide">'
    return f"{begin}{table}</div></section>" if rows else ""


# -- Charts ---------------------------------------------------------------------------------


def _chart(title: str, lines: Sequence[Line], across: str, key: str) -> str:
    """Accuracy as lines that differ in colour and in dashes, with values and a legend in words."""
    points = [point for _, line in lines for point in line]
    if not points:
        return f"<h2>{title}</h2><p>No accuracy has been measured yet.</p>"
    xs = _ticks(0, max(x for x, _ in points), 1)
    ys = _ticks(min(y for _, y in points), max(y for _, y in points), 0.01)
    drawn, legend, said = "", "", []
    taken: list[tuple[float, float]] = []

    def place(x: float, y: float) -> tuple[float, float]:
        return 76 + 560 * x / xs[-1], 276 - 248 * (y - ys[0]) / (ys[-1] - ys[0])

    def text(x: float, y: float, words: str, side: str = "middle", kind: str = "dim") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{side}" class="{kind}">{words}</text>\n'

    for y in ys:
        height = place(0, y)[1]
        drawn += f'<path class="grid" d="M56 {height:.1f}H656"/>'
        drawn += text(50, height + 4, _show("accuracy", y), "end")
    drawn += "".join(text(place(x, 0)[0], 296, _show(key, x)) for x in xs)
    drawn += text(356, 318, across) + text(8, 12, "Accuracy", "start")
    for at, (name, line) in enumerate(lines):
        look = f'style="stroke:var(--l{at % 6});stroke-dasharray:{DASHES[at % len(DASHES)]}"'
        final = _show("accuracy", line[-1][1]) if line else "not measured"
        legend += '<span><svg viewBox="0 0 40 8" aria-hidden="true">'
        legend += f'<path class="line" d="M0 4H40" {look}/></svg>{_e(name)}: {final}</span>'
        said.append(f"{_e(name)}: {' '.join(_show('accuracy', y) for _, y in line) or final}")
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line)
        drawn += f'<polyline class="line" {look} points="{path}"/>'
        for x, y in line:
            spot, value = place(x, y), f"{_e(name)}, {_show(key, x)}: {_show('accuracy', y)}"
            drawn += f'<circle cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="3" style="fill:var(--l{at % 6})">'
            drawn += f"<title>{value}</title></circle>"
    if len(lines) == 1:  # room for a value at every point, or at every few
        line = lines[0][1]
        for x, y in line[:: -math.ceil(len(line) / 12)]:
            drawn += text(place(x, y)[0], place(x, y)[1] - 9, _show("accuracy", y), kind="value")
    else:  # a value at the end of each line, lower where another is in its way
        for x, y in sorted((line[-1] for _, line in lines if line), key=lambda point: -point[1]):
            left, height = place(x, y)
            height = max([height + 4, *(other + 13 for near, other in taken if abs(near - left) < 48)])
            taken.append((left, height))
            if height < 284:  # else there is no room left, and the legend has the value
                drawn += text(left + 8, height, _show("accuracy", y), "start", "value")
    names = f'role="img" aria-labelledby="{key}-title {key}-desc"'
    told = f'<title id="{key}-title">{title}</title><desc id="{key}-desc">{"; ".join(said)}</desc>'
    image = f'<svg viewBox="0 0 700 324" {names}>{told}{drawn}</svg>'
    return f"<section><h2>{title}</h2><figure>{image}<figcaption>{legend}</figcaption></figure></section>"


def _ticks(low: float, high: float, least: float) -> list[float]:
    """At most eight round numbers, `least` apart or more, that enclose `low` and `high`."""
    size = 10.0 ** math.floor(math.log10(max(high - low, least)))
    step = next(s for s in (size / 5, size / 2, size, size * 2) if s >= least and (high - low) / s <= 6)
    last = max(1, math.ceil(high / step - 1e-9))
    return [at * step for at in range(min(last - 1, math.floor(low / step + 1e-9)), last + 1)]
