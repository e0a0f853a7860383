"""Running one cell: in this process, or through Flower's own simulation. Both give the same numbers."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.board.cells import ALONE, Cell
from benchmarks.board.data import columns, source
from bract.errors import BractError
from bract.results.run_folder import read_rows

ROOT = Path(__file__).parents[2]


def run_cell(cell: Cell, data: str, flower: bool = False) -> dict[str, Any]:
    """A cell's row. `data` is a folder with train.csv, test.csv and labels.json, or nothing: the demo."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        os.environ["BRACT_HOME"] = home
        values: dict[str, Any] = {**cell.settings, "seed": cell.seed, "run.folder": f"{home}/run", **source(data)}
        if values.pop(ALONE, False):
            from benchmarks.board.alone import alone

            row, accuracies = alone(cell.nodes, values, f"{data}/test.csv" if data and cell.tested else "")
            return {**row, **on_test(accuracies), "minutes": round((time.perf_counter() - start) / 60, 2)}
        if flower:
            by_flower(cell.nodes, values, Path(home))
        else:
            from benchmarks.inprocess import run_in_process  # torch, which only the process that runs cells needs

            run_in_process(cell.nodes, values)
        folder = Path(home) / "run"
        rows = read_rows(folder / "rounds.jsonl")
        found: dict[str, Any] = {
            name: rows[-1][name] for name in ("accuracy", "accuracy_mean", "accuracy_std", "accuracy_worst", "epsilon")
        }
        found |= {name: sum(row[name] for row in rows) for name in ("upload_bytes", "download_bytes", "upload_values")}
        if cell.tested:
            found |= on_test(tested(folder, Path(home), data, values))
    return {**found, "minutes": round((time.perf_counter() - start) / 60, 2)}


def by_flower(nodes: int, values: dict[str, Any], home: Path) -> None:
    """Through `bract run`, as a user does."""
    file = home / "cell.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    command = [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--nodes", str(nodes), "-c", str(file)]
    ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if ended.returncode:
        raise BractError(f"bract run ended with {ended.returncode}; what it said is above")


def tested(folder: Path, home: Path, data: str, values: dict[str, Any]) -> list[float]:
    """Accuracies on the test file: of the run's adapter, or of every client's own where models are personal."""
    import bract
    from bract.data.tables import load_test

    if not data:
        return []
    personal = sorted((home / "personal").glob("*/*/bract.json"))
    found: list[float] = []
    for place in [path.parent for path in personal] or [folder / "adapter"]:
        predictor = bract.load(str(place))
        table = load_test(columns(values, f"{data}/test.csv"), predictor.task, predictor.outputs)
        guessed = predictor.predict(table.columns["text"])
        found.append(statistics.mean(one == right for one, right in zip(guessed, table.columns["label"], strict=True)))
    return found


def on_test(accuracies: list[float]) -> dict[str, float]:
    """What a row says of models on the test file: their mean, and that of the worst tenth, which is one at least."""
    if not accuracies:
        return {}
    worst = sorted(accuracies)[: math.ceil(len(accuracies) / 10)]
    return {"test_accuracy": statistics.mean(accuracies), "test_worst": statistics.mean(worst)}
