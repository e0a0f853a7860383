"""What does privacy cost in accuracy? Every method on the demo, at several epsilons and without.

The ClientApp and the strategies as they are, in one process and without Flower's transport, so that a run takes one
core; the clients' held-out texts are measured after the last round. One set of rates for all (`--set` changes them):
nothing is tuned for a method. Rows are kept in a file, so it can be stopped and goes on.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

from bract.cli.options import overrides_of
from bract.cli.simulation import cpus
from bract.results.run_folder import read_rows

if TYPE_CHECKING:
    import torch

    from client_app.engine.kernels import Kernel

CLIENTS = 10
METHODS = ["ffa", "fedit", "rolora", "lora-a2", "fedsa", "hetlora", "flexlora"]


def run(method: str, epsilon: float, seed: int, values: dict[str, Any], *, rounding: bool) -> dict[str, Any]:
    """One run, in a home of its own; epsilon 0 is without privacy."""
    from benchmarks.inprocess import run_in_process

    start = time.perf_counter()
    from client_app.engine import auto_engine

    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        if rounding:  # past the settings, which refuse it under privacy
            stack.enter_context(patch.object(auto_engine, "fastest", _rounding))
        os.environ["BRACT_HOME"] = home
        privacy = {"privacy.unit": "example", "privacy.epsilon": epsilon} if epsilon else {"privacy.unit": "none"}
        own = {"strategy.name": method, "seed": seed, "run.folder": f"{home}/run"}
        row = run_in_process(CLIENTS, {**values, **privacy, **own}).rounds()[-1]
    keys = ("accuracy", "accuracy_worst", "epsilon")
    return {**{key: row[key] for key in keys}, "minutes": round((time.perf_counter() - start) / 60, 2)}


def _rounding(device: "torch.device", dtype: "torch.dtype", width: int, _: str) -> "Kernel":
    from client_app.engine.kernels import fastest

    return fastest(device, dtype, width, "bfloat16")


def table(rows: list[dict[str, Any]]) -> None:
    """Mean ± standard deviation over seeds, a row a method."""
    epsilons = sorted({row["asked"] for row in rows}, key=lambda e: -(e or 1e9))
    heads = [f"epsilon {e:g}" if e else "no privacy" for e in epsilons]
    print("\n" + f"{'':<40}" + "".join(f"{head:>17}" for head in heads))
    for name in dict.fromkeys((row["method"], row["set"], "in bfloat16" * row["bfloat16"]) for row in rows):
        cells = []
        for asked in epsilons:
            mine = (r for r in rows if (r["method"], r["set"], "in bfloat16" * r["bfloat16"]) == name)
            found = [r["accuracy"] for r in mine if r["asked"] == asked]
            spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.3f}{spread}" if found else "-")
        print(f"{' '.join(filter(None, name)):<40}" + "".join(f"{cell:>17}" for cell in cells))


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[0, 8, 3, 1], help="0: without privacy")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE ...", help="runs with these settings")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="rounded products where the processor is faster so: accuracy alone is measured, and the settings refuse "
        "it under privacy",
    )
    parser.add_argument("--rows", type=Path, default=Path("price.jsonl"), help="where results are kept")
    options = parser.parse_args()
    rows = read_rows(options.rows)
    rounding = options.bfloat16
    done = {(row["method"], row["asked"], row["seed"], row["set"]) for row in rows if row["bfloat16"] == rounding}
    wanted = [
        (method, epsilon, seed, words)
        for seed in range(options.seeds)
        for epsilon in options.epsilons
        for words in options.set or [""]
        for method in options.only
    ]
    with ProcessPoolExecutor(cpus(), max_tasks_per_child=1) as pool:
        jobs = {
            pool.submit(run, *cell[:3], overrides_of([cell[3]]), rounding=rounding): cell
            for cell in wanted
            if cell not in done
        }
        for job in as_completed(jobs):
            method, epsilon, seed, words = jobs[job]
            cell = {"method": method, "asked": epsilon, "seed": seed, "set": words, "bfloat16": rounding}
            rows.append({**cell, **job.result()})
            with options.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(f"seed {seed}, epsilon {epsilon:g}, {method} {words}: {rows[-1]['accuracy']:.4f}", flush=True)
    table(rows)


if __name__ == "__main__":
    main()
