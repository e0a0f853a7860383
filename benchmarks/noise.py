"""Is noise amplified? The length of the noise in B·A against sigma, FFA-LoRA beside plain LoRA, and the formula.

One real client of the demo, MiniLM: a step of DP gradient descent at rate 1 with an empty draw, so that what moves the
factors is the noise alone, s = sigma · clip / batch in every coordinate of what trains. Measured: the Frobenius
length of the change of B·A, all modules together. FFA trains B alone; FedIT trains both, and the product of
their noises grows with s squared. Expected, with widths d_in, d_out of a module and rank r:

    FFA      s √(sum d_out ‖A‖²)
    FedIT    √(sum s² (d_out ‖A‖² + d_in ‖B‖²) + s⁴ r d_in d_out)
"""

import argparse
import math
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from bract.adapter import initial
from bract.adapter.layout import Layout, Part, Parts
from bract.models.lora_model import build, shape
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.settings.read import read
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples
from client_app.privacy.budget import Private
from client_app.training.loop import Phase, train

LENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # s


def change(layout: Layout, before: Parts, after: Parts) -> float:
    """The Frobenius length of the change of B·A, over all modules."""
    total = 0.0
    one, two = (zip(layout.matrices("B", p["B"]), layout.matrices("A", p["A"]), strict=True) for p in (before, after))
    for (b0, a0), (b1, a1) in zip(one, two, strict=True):
        product = [b.astype(np.float64).T @ a.astype(np.float64) for b, a in ((b0, a0), (b1, a1))]
        total += float(np.square(product[1] - product[0]).sum())
    return math.sqrt(total)


def expected(layout: Layout, before: Parts, s: float, *, both: bool) -> float:
    """The formula."""
    total = 0.0
    pairs = zip(layout.matrices("B", before["B"]), layout.matrices("A", before["A"]), strict=True)
    for module, (b, a) in zip(layout.modules, pairs, strict=True):
        total += s**2 * module.d_out * float(np.square(a, dtype=np.float64).sum())
        if both:
            total += s**2 * module.d_in * float(np.square(b, dtype=np.float64).sum())
            total += s**4 * layout.rank * module.d_in * module.d_out
    return math.sqrt(total)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    net = build(shape(read({}), 32, CLASSIFICATION.auto_class))
    layout, nothing = net.layout, Examples([], np.zeros(0, np.int64))
    start = initial.draw(layout, 0, pooled=True)
    start["B"] = 0.01 * np.random.default_rng(0).normal(size=layout.size("B")).astype(np.float32)  # some training later
    sgd = TrainSettings(optimizer="sgd", lr=1.0, lr_ratio=1.0, batch=1, steps=1)
    quiet = Mechanism(8.0, 1e-5, "prv", clip=1.0, sigma=1.0, rate=1.0, batch=1.0, steps=1, rounds=1)
    print(f"{'s':>6}{'FFA':>12}{'formula':>12}{'FedIT':>12}{'formula':>12}{'FedIT / FFA':>14}")
    for s in LENGTHS:
        found: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(options.repeats):
            for both in (False, True):
                parts: tuple[Part, ...] = ("A", "B") if both else ("B",)
                for part, vector in start.items():
                    net.set(part, vector, layout)
                private = Private(replace(quiet, sigma=s), SecureNoise())
                train(
                    net,
                    nothing,
                    sgd,
                    Phase(parts, 1),
                    np.random.default_rng(0),
                    losses=CLASSIFICATION.losses,
                    pad=0,
                    private=private,
                )
                found[both].append(change(layout, start, {"A": net.get("A"), "B": net.get("B")}))
        one, two = (statistics.mean(found[both]) for both in (False, True))
        print(
            f"{s:>6g}{one:>12.4g}{expected(layout, start, s, both=False):>12.4g}"
            f"{two:>12.4g}{expected(layout, start, s, both=True):>12.4g}{two / one:>14.2f}"
        )


if __name__ == "__main__":
    main()
