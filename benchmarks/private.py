"""Is privacy nearly free in time and memory? A private step against a plain one, on the same batches.

MiniLM, and the shape of RoBERTa-base with random weights; B alone, and A, B and the head. Steps take turns, and
the ratio is the median over repetitions of CPU time in one process. Peak memory, above what the process had before
its steps, is measured in a process for each kind of step.
Goals: 1.05 in time, 1.25 in memory; noise at most 2 % of a step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

CASES = [("minilm", 32, 64, "B"), ("minilm", 32, 64, "A,B,head"), ("roberta", 16, 128, "B,head")]


def model_of(kind: str, scratch: Path) -> Any:
    """MiniLM as it is, or RoBERTa-base's shape."""
    from bract.base import locate
    from bract.model import Shape, build

    if kind == "minilm":
        return build(Shape(locate("minilm"), "mean", 32, 8, 16.0, "attention", "random", 0, 128))
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
    RobertaForSequenceClassification(config).save_pretrained(scratch)
    return build(Shape(str(scratch), "native", 32, 8, 16.0, "attention", "random", 0, 128))


def steps(kind: str, batch: int, length: int, parts: Any, scratch: Path) -> dict[str, Any]:
    """A function for each kind of step, over the same examples."""
    import numpy as np
    import torch

    from bract.examples import Examples
    from bract.initial import draw
    from bract.mechanism import Mechanism
    from bract.noise import SecureNoise
    from bract.settings import TrainSettings
    from client_app.private import PrivateGradients
    from client_app.train import PlainGradients, _optimizer

    torch.set_num_threads(1)
    net = model_of(kind, scratch)
    for part, vector in draw(net.layout, 0, pooled=kind == "minilm").items():
        rng = np.random.default_rng(0)
        net.set(part, vector + (part == "B") * 0.01 * rng.normal(size=len(vector)).astype(np.float32), net.layout)
    rng = np.random.default_rng(1)
    tokens = [rng.integers(5, 20_000, length).astype(np.int32) for _ in range(batch)]
    examples, rows = Examples(tokens, rng.integers(0, 32, batch)), np.arange(batch)
    mechanism = Mechanism(8.0, 1e-5, "prv", 1.0, 1.0, 0.1, float(batch), 1, 1)
    optimizer = _optimizer(net, TrainSettings(), parts, 0.004)
    sources = {
        "plain": PlainGradients(net, batch, rng, pad=0),
        "private": PrivateGradients(net, parts, mechanism, SecureNoise(), pad=0),
    }

    def step(name: str) -> float:
        start = time.process_time()
        with sources[name] as source:
            source.fill(examples, rows)
            optimizer.step()
        return time.process_time() - start

    def noise() -> float:
        start = time.process_time()
        SecureNoise().normal(sum(p.numel() for part in parts for p in net.parameters_of(part)))
        return time.process_time() - start

    return {"plain": lambda: step("plain"), "private": lambda: step("private"), "noise": noise}


def peak(case: int, name: str) -> float:
    """Peak memory of a process that takes two such steps, in MB above what it had before them."""
    command = [sys.executable, "-W", "ignore", __file__, "--memory", name, "--case", str(case)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def status(name: str) -> int:
    """A figure of this process, in kB, as Linux gives it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--case", type=int, help="one of the cases, by number")
    parser.add_argument("--memory", choices=["plain", "private"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = range(len(CASES)) if options.case is None else [options.case]
    with tempfile.TemporaryDirectory() as scratch:
        for number in chosen:
            kind, batch, length, names = CASES[number]
            parts = tuple(names.split(","))
            step = steps(kind, batch, length, parts, Path(scratch))
            if options.memory:
                Path("/proc/self/clear_refs").write_text("5")  # forget the peak that loading had
                before = status("VmRSS")
                for _ in range(2):
                    step[options.memory]()
                print(json.dumps((status("VmHWM") - before) / 1024))
                return
            seconds: dict[str, list[float]] = {name: [] for name in step}
            for repeat in range(options.repeats + 1):
                for name, play in step.items():
                    spent = play()
                    if repeat:  # the first warms up
                        seconds[name].append(spent)
            ratios = [a / b for a, b in zip(seconds["private"], seconds["plain"], strict=True)]
            share = statistics.median(seconds["noise"]) / statistics.median(seconds["plain"])
            memory = {name: peak(number, name) for name in ("plain", "private")}
            print(f"{kind} {batch} x {length}, {names}: plain {statistics.median(seconds['plain']):.2f} s")
            print(f"  private ÷ plain  {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
            print(f"  noise            {share:.2%} of a step")
            print(
                f"  peak memory      {memory['private']:.0f} ÷ {memory['plain']:.0f} MB = "
                f"{memory['private'] / memory['plain']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
