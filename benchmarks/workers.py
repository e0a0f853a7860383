"""Threads or workers? The same local training by a process on each core, and by one process with a thread on each.

Prints the wall time of each way, taking turns, and their ratio: why a simulation has a worker for every core, with one
thread, as long as there are as many clients (`bract/cli/simulation.py`).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bract.cli.simulation import cpus


def train(threads: int, epochs: int) -> None:
    """Private epochs of the demo's texts; says when it is about to begin, and waits to be told."""
    import torch

    from benchmarks.training import SIZES, Trainer, examples_of, model_of

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer("fused", model_of("minilm", scratch), examples_of("demo", "minilm"), SIZES["minilm"][1])
        trainer.epoch()
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(epochs):
            trainer.epoch()


def timed(processes: int, threads: int, epochs: int) -> float:
    """Seconds for so many processes to train so many epochs each."""
    command = [sys.executable, "-W", "ignore", __file__, "--train", str(threads), str(epochs)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    running = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        if not any("ready" in line for line in iter(process.stdout.readline, "")):
            raise SystemExit("a worker died")
    start = time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.wait()
    return time.perf_counter() - start


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(*options.train)
        return
    cores, ratios = cpus(), []
    for _ in range(options.repeats):
        apart, together = timed(cores, 1, 2), timed(1, cores, 2 * cores)
        ratios.append(apart / together)
        print(
            f"{cores} workers of one thread {apart:.1f} s, one worker of {cores} threads {together:.1f} s", flush=True
        )
    print(f"workers ÷ threads {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
