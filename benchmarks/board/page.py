"""docs/results.md: every table and figure from the rows, the words from the board's file."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.board.cells import ALONE, Board, Found, Question
from benchmarks.board.figure import Point, figure
from bract.settings.schema import Settings

TITLE = "# The board"
SEEDS = "({} of {} seeds)"
MANY = 3  # points, below which a figure shows nothing
DETAILS = '<details markdown="1">'  # or the site shows what is in it as it stands here
BYTES = "one figure for each split and budget. The words of a point are its tooltip."


def write(board: Board, rows: Sequence[Mapping[str, Any]], path: Path, source: str) -> None:
    """Write the page and its figure; what has not run yet stands as such."""
    found = {row["key"]: row for row in rows}
    text = [board_words(board, rows, source)]
    for question in board.questions:
        text += [f"## {question.name}\n", f"*{question.asks}*\n", apart(board, question), table(board, question, found)]
        text += [f"`python -m benchmarks.board run --data FOLDER --only '{question.name}'`\n"]
        text += [tuning(board, question, found), question.answer or "Not answered yet.", ""]
    panels = {name: drawn for name, drawn in points(board, found).items() if len(drawn) > MANY}
    if panels:
        text += ["## What does a byte buy?\n", f"Every place of the tables above with all its seeds; {BYTES}\n"]
        text += [f"{board.bytes}\n"] if board.bytes else []
    for i, (name, drawn) in enumerate(panels.items(), 1):
        place = path.with_name(f"{path.stem}-{i}.svg")
        place.write_text(figure(name, drawn), encoding="utf-8")
        text.append(f"![{name}]({place.name})\n")
    text += ["## What the board cannot say\n", board.limits, ""] if board.limits else []
    path.write_text("\n".join(text), encoding="utf-8")


def board_words(board: Board, rows: Sequence[Mapping[str, Any]], source: str) -> str:
    """What holds for all tables."""
    said = ", ".join(
        f"`{key} = {value}`" for key, value in board.settings.items() if key != "lora.targets" or not board.about
    )
    found = {row["key"]: row for row in rows}
    keys = {cell.key for place in board.places() for cell in board.tuned(*place, found)}
    strange = [row for row in rows if not row["tested"] and row["key"] not in keys]
    gone = f" {len(strange)} of them are of points that are no longer tried." if strange else ""
    played = sum(row["minutes"] for row in rows) / 60
    data = ", ".join(sorted({row["data"] for row in rows})) or "none yet"
    return f"""{TITLE}

Made by `python -m benchmarks.board page` from rows (`{source}`) that
`python -m benchmarks.board run --data FOLDER` wrote. Only the answers are written by hand. With other data or another
model it has rows and a page of its own:
`--data hub:owner/name --rows FILE -c 'model.name=owner/model lora.targets=attention'`.

{board.about}

- Every place of a table was tuned by itself, over the same number of points ({len(board.grid)} without privacy, \
{len(board.private_grid) + len(board.private_then)} with), by the accuracy on what the training clients hold out, \
with seed {board.tuning_seed}; a column
  that takes the rates of another does so for all rows alike.
- Test data is touched after tuning alone, with seeds {", ".join(map(str, board.seeds))}: mean ± standard deviation.
  Below it stands the difference from the column's first row, seed by seed.
- {board.nodes} clients; where a question says nothing else, {said}.
- Data: {data}. {len(rows)} runs, {played:.1f} hours in all, as many at a time as there were cores.{gone}
"""


def apart(board: Board, question: Question) -> str:
    """What each column and row of a question sets."""
    lines = []
    for kind, named in (("column", question.columns), ("row", question.rows)):
        for name, settings in named.items():
            own = {f"{k}": v for k, v in settings.items()}
            for (row, column), more in question.places.items():
                if kind == "row" and row == name:
                    own |= {f"{k} in {column}": v for k, v in more.items()}
            lines.append(f"- {kind} {name}: " + ", ".join(f"`{key} = {value}`" for key, value in own.items()))
    return f"{DETAILS}<summary>Settings</summary>\n\n" + "\n".join(lines) + "\n\n</details>\n"


def table(board: Board, question: Question, found: Found) -> str:
    """Test accuracy and bytes, a line a row and a column a column."""
    rates = {name: f" (rates of {other})" for name, other in question.rates.items()}
    heads = [name + rates.get(name, "") for name in question.columns]
    if question.personal:
        measures = ("own mix", "worst tenth", "all intents", "worst tenth", "MB up")
        heads = [f"{name}: {measure}" for name in heads for measure in measures]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    show = personal if question.personal else place
    for row in question.rows:
        cells = [cell for column in question.columns for cell in show(board, question, row, column, found)]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def decided(board: Board, question: Question, row: str, column: str, found: Found) -> list[Mapping[str, Any]]:
    """The runs that are reported of a place, as many as there are."""
    point = board.best(question, row, column, found)
    if point is None:
        return []
    return [found[cell.key] for cell in board.decisive(question, row, column, point) if cell.key in found]


def place(board: Board, question: Question, row: str, column: str, found: Found) -> list[str]:
    """One place of a table."""
    runs = decided(board, question, row, column, found)
    if not runs:
        return ["…"]
    if any("error" in run for run in runs):
        return ["failed: " + next(run["error"] for run in runs if "error" in run)]
    words = spread([run[score(run)] for run in runs])
    if len(runs) < len(board.seeds):
        words += " " + SEEDS.format(len(runs), len(board.seeds))
    words += against(runs, decided(board, question, next(iter(question.rows)), column, found), score(runs[0]))
    up, down = (mean(runs, f"{way}_bytes") / 1e6 for way in ("upload", "download"))
    values = mean(runs, "upload_values") / 1e6
    return [f"{words}<br>{values:.2f} M values, {up:.2f} MB up, {down:.2f} MB down"]


def against(runs: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]], name: str) -> str:
    """The difference from a column's first row, seed by seed: both have the same split and the same first values."""
    base = {run["seed"]: run for run in first if "error" not in run}
    apart = [run[name] - base[run["seed"]][name] for run in runs if run["seed"] in base]
    if len(apart) < 2 or not any(apart):
        return ""
    return f"<br>{statistics.mean(apart):+.3f} ± {statistics.stdev(apart):.3f}"


def personal(board: Board, question: Question, row: str, column: str, found: Found) -> list[str]:
    """One place of a table of personal models."""
    runs = decided(board, question, row, column, found)
    names = ("accuracy_mean", "accuracy_worst", "test_accuracy", "test_worst")
    if not runs or any("error" in run for run in runs):
        return ["failed" if runs else "…"] * 5
    part = f" {SEEDS.format(len(runs), len(board.seeds))}" if len(runs) < len(board.seeds) else ""
    first = decided(board, question, next(iter(question.rows)), column, found)
    cells = [
        spread([run[name] for run in runs]) + against(runs, first, name) if name in runs[0] else "" for name in names
    ]
    return [cells[0] + part, *cells[1:], f"{mean(runs, 'upload_bytes') / 1e6:.2f}"]


def tuning(board: Board, question: Question, found: Found) -> str:
    """What was tried, and how flat it was."""
    lines = []
    for column in question.columns:
        for row in question.rows:
            point = board.best(question, row, column, found)
            if point is None or column in question.rates:
                continue
            tried = board.points(question, row, column, found)
            scores = [found[cell.key].get("accuracy") or 0.0 for cell in board.tuned(question, row, column, found)]
            told = ", ".join(
                f"{'**' * (one == point)}{' '.join(f'{v:g}' for v in one.values())}: {s:.3f}{'**' * (one == point)}"
                for one, s in zip(tried, scores, strict=True)
            )
            lead = f"; +{max(scores) - statistics.median(scores):.3f} over the median point"
            lines.append(f"- {column}, {row}: {told}{lead}")
    if not lines:
        return ""
    tuned = dict.fromkeys(name for point in [*board.private_grid, *board.private_then] for name in point)
    names = ", ".join(f"<code>{name}</code>" for name in tuned) + " with privacy; the first ones without"
    head = f"{DETAILS}<summary>All points that were tried ({names}), with their validation accuracy</summary>\n\n"
    return head + "\n".join(lines) + "\n\n</details>\n"


def points(board: Board, found: Found) -> dict[str, list[Point]]:
    """Every place with all its seeds that sends anything, by split and budget."""
    panels: dict[str, dict[str, Point]] = {}
    for question, row, column in board.places():
        runs = decided(board, question, row, column, found)
        settings = {**Settings().flat(), **board.of(question, row, column)}
        if (
            len(runs) < len(board.seeds)
            or any("error" in run for run in runs)
            or settings.get(ALONE)
            or question.personal
        ):
            continue
        private = board.private(question, row, column)
        budget = f"epsilon {settings['privacy.epsilon']:g}" if private else "no privacy"
        steps = f"{settings['rounds']} rounds of {settings['train.steps']} steps of {settings['train.batch']}"
        accuracy = statistics.mean(run[score(run)] for run in runs)
        point = Point(
            settings["strategy.name"], f"{question.name}, {row}, {column}", mean(runs, "upload_bytes"), accuracy
        )
        panel = panels.setdefault(f"{settings['data.partition']}, {budget}, {steps}", {})
        panel.setdefault(runs[0]["key"], point)
    return {name: list(panel.values()) for name, panel in panels.items()}


def score(run: Mapping[str, Any]) -> str:
    """The accuracy that counts: on the test file, where there is one."""
    return "test_accuracy" if "test_accuracy" in run else "accuracy"


def mean(runs: Sequence[Mapping[str, Any]], name: str) -> float:
    """Over seeds."""
    return float(statistics.mean(run[name] for run in runs))


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
