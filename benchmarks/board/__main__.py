"""The command line of the board; see the package's own words."""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from benchmarks.board import page
from benchmarks.board.cells import Board, Cell
from benchmarks.board.data import digest, folder, source
from benchmarks.board.run import ROOT, run_cell
from bract.cli.options import overrides_of
from bract.cli.simulation import cpus
from bract.errors import BractError
from bract.results.run_folder import read_rows

FAIR = Path(__file__).parent / "fair.toml"


def main() -> int:
    """Run or show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board", description=__doc__)
    parser.add_argument("do", choices=("run", "page", "untrained"))
    parser.add_argument("--board", type=Path, default=FAIR)
    parser.add_argument("--rows", type=Path, help="where results are kept, and the page (default: docs/BOARD.jsonl)")
    parser.add_argument(
        "--data",
        default="",
        help="a folder with train.csv, test.csv, labels.json, or hub:owner/name with a train and a test split "
        "(default: the demo, without a test file)",
    )
    parser.add_argument(
        "-c",
        "--run-config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="settings instead of the board's, as for bract run; --rows of their own",
    )
    parser.add_argument("--only", action="append", default=[], metavar="QUESTION", help="run this question alone")
    parser.add_argument("--flower", action="store_true", help="through Flower's simulation, one cell at a time")
    parser.add_argument("--workers", type=int, default=0, help="cells at a time (default: one a core)")
    parser.add_argument("--minutes", type=float, default=0, help="begin no cell after so many (default: all of them)")
    options = parser.parse_args()
    try:
        own = overrides_of(options.run_config)
        if own and not options.rows and options.do != "untrained":
            raise BractError("-c makes another board; name a file for its --rows")
        board = Board.load(options.board, own)
        with tempfile.TemporaryDirectory() as scratch:
            return do(options, board, Path(scratch))
    except BractError as error:
        print(f"board: error: {error}", file=sys.stderr)
        return 1


def do(options: argparse.Namespace, board: Board, scratch: Path) -> int:
    """What was asked for."""
    own = bool(options.rows or options.run_config)
    rows: Path = options.rows or ROOT / "docs" / f"{board.name}.jsonl"
    if rows.suffix != ".jsonl" or not rows.parent.is_dir():
        raise BractError(f"--rows {rows}: should be a .jsonl file in a folder that there is")
    if options.do == "page":
        return show(board, rows, fair=options.board.resolve() == FAIR.resolve(), own=own)
    asked = board.only(options.only)
    data = folder(options.data, scratch, board.settings)
    if options.do == "untrained":
        if not data:
            raise BractError("untrained: name data with --data")
        from benchmarks.board.alone import untrained  # torch

        print(f"{untrained({**board.settings, **source(data)}, f'{data}/test.csv'):.4f} of the test file")
        return 0
    workers = 1 if options.flower else options.workers or cpus()
    fill(board, rows, data, workers, asked=asked, flower=options.flower, minutes=options.minutes or float("inf"))
    return 0


def show(board: Board, path: Path, *, fair: bool, own: bool) -> int:
    """The page of these rows: docs/results.md for the project's own, else beside the rows."""
    rows = read_rows(path)
    if not rows:
        raise BractError(f"{path} has no rows: run some first")
    board.check_rows({row["key"]: row for row in rows if "error" not in row}, path)
    place = path.with_suffix(".md") if own or not fair else ROOT / "docs" / "results.md"
    if place.exists() and not place.read_text(encoding="utf-8").startswith(page.TITLE):
        raise BractError(f"{place} is no page of a board; name other --rows")
    page.write(board.unanswered() if own and fair else board, rows, place, source=path.name)
    print(place)
    return 0


def fill(
    board: Board,
    path: Path,
    data: str,
    workers: int,
    *,
    asked: Board | None = None,
    flower: bool = False,
    minutes: float = 1e9,
) -> None:
    """Run what is missing of the board (or of what is asked for); a row is on disk once its cell has ended."""
    drop_cut_line(path)
    mark, end = digest(data), time.monotonic() + 60 * minutes
    found = {row["key"]: row for row in read_rows(path) if "error" not in row}  # what failed is tried again
    strange = {row["data"] for row in found.values()} - {mark}
    if strange:
        raise BractError(f"{path} has rows of other data ({', '.join(sorted(strange))}; this is {mark})")
    board.check_rows(found, path)
    failed = 0
    under_way: dict[Future[dict[str, Any]], Cell] = {}
    with ProcessPoolExecutor(workers) as pool:
        while True:
            begun = {cell.key for cell in under_way.values()}
            for cell in missing(asked or board, found):
                if len(under_way) == workers or time.monotonic() > end:
                    break
                if cell.key not in begun:
                    under_way[pool.submit(run_cell, cell, data, flower)] = cell
                    begun.add(cell.key)
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for job in done:
                cell = under_way.pop(job)
                told = {"key": cell.key, "data": mark, "seed": cell.seed, "tested": cell.tested}
                row = {**told, **outcome(job), "settings": dict(cell.settings)}
                found[cell.key] = row
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                say(row, board, found)
                failed += "error" in row
                if failed == len(found) >= len(board.grid):
                    raise BractError(f"every run has failed, the last one so: {row['error']}")


def drop_cut_line(path: Path) -> None:
    """A last line that was cut short goes, lest the next one is written on to it."""
    if path.is_file() and not (whole := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(whole[: whole.rfind(b"\n") + 1])


def outcome(job: Future[dict[str, Any]]) -> dict[str, Any]:
    """What a cell gave. One that cannot run (it diverged, say) is a result too: the worst of all."""
    try:
        return job.result()
    except BractError as error:
        nothing = dict.fromkeys(("upload_bytes", "download_bytes", "upload_values"), 0)
        return {**nothing, "accuracy": None, "error": str(error), "minutes": 0.0}


def missing(board: Board, found: dict[str, dict[str, Any]]) -> list[Cell]:
    """What can run now and is not yet known, each once.

    Question by question, tuning first and then seed by seed: so a board that is stopped has whole seeds, and a
    process keeps what runs of one seed have in common.
    """
    wanted: dict[str, Cell] = {}
    for question in board.questions:
        cells = board.cells(question, found)
        wanted |= {cell.key: cell for cell in cells if cell.key not in found and cell.key not in wanted}
    return list(wanted.values())


def say(row: dict[str, Any], board: Board, found: dict[str, Any]) -> None:
    """A line a cell."""
    settings = {k: v for k, v in row["settings"].items() if board.settings.get(k) != v}
    words = " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
    score = f"test {row['test_accuracy']:.4f}" if "test_accuracy" in row else f"validation {row['accuracy'] or 0:.4f}"
    score = f"failed: {row['error']}" if "error" in row else score
    print(f"{len(found)} cells; seed {row['seed']}, {words}: {score}, {row['minutes']:.1f} min", flush=True)


if __name__ == "__main__":
    sys.exit(main())
