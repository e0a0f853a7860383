"""docs/results.md: every table and figure from the rows, the words from the board's file."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.board.cells import Board, Question

Found = Mapping[str, Mapping[str, Any]]


def write(board: Board, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the page; what is not yet played stands as such."""
    found = {row["key"]: row for row in rows}
    text = [board_words(board, rows)]
    for question in board.questions:
        text += [f"## {question.name}\n", f"*{question.asks}*\n", table(board, question, found)]
        text += [tuning(board, question, found), question.answer or "Not answered yet.", ""]
    path.write_text("\n".join(text), encoding="utf-8")


def board_words(board: Board, rows: Sequence[Mapping[str, Any]]) -> str:
    """What holds for all tables."""
    said = ", ".join(f"`{key} = {value}`" for key, value in board.settings.items())
    return f"""# The board

Made by `python -m benchmarks.board page` from rows that `python -m benchmarks.board run` played; only the answers are
written by hand.

- Every place of a table was tuned by itself, over the same number of points ({len(board.grid)} without privacy, \
{len(board.private_grid)} with), by the accuracy on what the training clients hold out, with seed {board.tuning_seed}.
- Test data was touched once, after tuning, with seeds {", ".join(map(str, board.seeds))}: mean ± standard deviation.
- {board.nodes} clients; {said}.
- Data: {", ".join(sorted({row["data"] for row in rows})) or "none yet"}. {len(rows)} runs, \
{sum(row["minutes"] for row in rows) / 60:.1f} hours of one hardware thread.
"""


def table(board: Board, question: Question, found: Found) -> str:
    """Test accuracy and bytes, a line a row and a column a column."""
    lines = ["| | " + " | ".join(question.columns) + " |", "|---" * (len(question.columns) + 1) + "|"]
    for row in question.rows:
        cells = [place(board, question, row, column, found) for column in question.columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def place(board: Board, question: Question, row: str, column: str, found: Found) -> str:
    """One place of a table."""
    point = board.best(question, row, column, found)
    if point is None:
        return "…"
    runs = [found[cell.key] for cell in board.decisive(question, row, column, point) if cell.key in found]
    if not runs:
        return "…"
    missing = len(board.seeds) - len(runs)
    name = "test_accuracy" if "test_accuracy" in runs[0] else "accuracy"
    words = spread([run[name] for run in runs]) + (f" ({len(runs)} of {len(board.seeds)} seeds)" if missing else "")
    up, down = (statistics.mean(run[f"{way}_bytes"] for run in runs) / 1e6 for way in ("upload", "download"))
    return f"{words}<br>{up:.2f} MB up, {down:.2f} down"


def tuning(board: Board, question: Question, found: Found) -> str:
    """What was chosen, and how flat it was: the best point's lead over the middle one."""
    lines = []
    for row in question.rows:
        said = []
        for column in question.columns:
            point = board.best(question, row, column, found)
            if point is None or column in question.rates:
                continue
            scores = [found[cell.key]["accuracy"] for cell in board.tuned(question, row, column)]
            rates = ", ".join(f"{value:g}" for value in point.values())
            said.append(f"{column}: {rates} (+{max(scores) - statistics.median(scores):.3f})")
        if said:
            lines.append(f"- {row}: {'; '.join(said)}")
    if not lines:
        return ""
    names = ", ".join(f"`{name}`" for name in board.private_grid[0])
    head = f"<details><summary>Tuned, and by how much the best point led the median one ({names})</summary>\n\n"
    return head + "\n".join(lines) + "\n\n</details>\n"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
