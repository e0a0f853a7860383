"""How fast can this processor multiply? Torch's ways to compute x @ W.T, their speed and what they err by.

One thread, the shapes of MiniLM's and RoBERTa-base's feed-forward layers, weights that are not in the nearest cache.
The last way puts float32 together from bfloat16: x and W are each cut into two halves of 8 bits; the product of the
high halves is summed in float32, the two mixed ones are added to it.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor
from torch.nn import functional

from client_app.engine.kernels import onednn_product, torch_product

WEIGHTS = 8  # in turn, as a model's layers are
ROUNDS = 10


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The high and the low 8 bits."""
    high = x.bfloat16()
    return high, (x - high.float()).bfloat16()


def prepared(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A frozen weight, cut once: its high half, and both side by side for the mixed products."""
    high, low = halves(weight)
    return high.float(), torch.cat([low, high], 1)


def from_halves(x: Tensor, weight: tuple[Tensor, Tensor]) -> Tensor:
    """The product, put together."""
    high, low = halves(x)
    products = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009 - torch's types do not know it
    products.fp32_precision = "bf16"  # exact here: the values have 8 bits
    try:
        found = torch.mm(high.float(), weight[0].T)
    finally:
        products.fp32_precision = "ieee"
    return found.add_(functional.linear(torch.cat([high, low], 1), weight[1]))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    ways: dict[str, tuple[Callable[[Tensor], object], Callable[..., Tensor]]] = {
        "torch, float32": (lambda w: w, lambda x, w: torch_product(x, w, None)),
        "oneDNN, float32": (lambda w: w, lambda x, w: onednn_product(x, w, None)),
        "bfloat16": (lambda w: w.bfloat16(), lambda x, w: functional.linear(x.bfloat16(), w).float()),
        "float32 from halves": (prepared, from_halves),
    }
    print(f"{'rows':>5} {'in':>5} {'out':>5}  " + "".join(f"{name:>34}" for name in ways))
    for width in (384, 768):
        for rows in (128, 350, 1024):
            for inner, outer in ((width, 4 * width), (4 * width, width)):
                x = torch.randn(rows, inner)
                weights = [torch.randn(outer, inner) for _ in range(WEIGHTS)]
                exact = x.double() @ weights[0].double().T
                cells = []
                for prepare, product in ways.values():
                    forms = [prepare(weight) for weight in weights]
                    error = float((product(x, forms[0]).double() - exact).norm() / exact.norm())
                    best = float("inf")
                    for _ in range(ROUNDS):
                        start = time.perf_counter()
                        for form in forms:
                            product(x, form)
                        best = min(best, (time.perf_counter() - start) / WEIGHTS)
                    cells.append(f"{2 * rows * inner * outer / best / 1e9:.0f} GFLOP/s, error {error:.0e}")
                print(f"{rows:>5} {inner:>5} {outer:>5}  " + "".join(f"{cell:>34}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
