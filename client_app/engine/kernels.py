"""Matrix products with frozen weights: which of torch's ways is fastest on this processor."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]

SECONDS = 0.25  # for all of the measuring
REPEATS = 8  # at least, on a machine that is too busy for more
OPERATIONS = 2**29  # in a product that is measured, so that a wide model's takes no seconds
MARGIN = 1.4  # as fast as torch's own, or it is not taken: the choice should be the processor's, not the moment's

_rounded_weights: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


@dataclass(frozen=True)
class Kernel:
    """A way to compute x @ weight.T + bias from a weight of `dtype`, and why it was chosen."""

    name: str
    product: Product
    why: str
    dtype: torch.dtype = torch.float32

    @property
    def is_default(self) -> bool:
        """Whether it is what the modules do by themselves."""
        return self.product is torch_product

    @property
    def reduced_precision(self) -> bool:
        """Whether it computes with fewer bits than the weights have."""
        return self.product is rounded_product

    def weight(self, frozen: nn.Module, *, transposed: bool = False) -> Tensor:
        """A frozen layer's weight as the product wants it; a rounded copy is made once for the model's life."""
        weight: Tensor = frozen.weight.T if transposed else frozen.weight  # type: ignore[assignment]  # no submodule
        if not self.reduced_precision:
            return weight
        if frozen not in _rounded_weights:
            _rounded_weights[frozen] = weight.detach().to(self.dtype)
        return _rounded_weights[frozen]


def torch_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Torch's own, but into a new tensor: of more than two dimensions it gives a view, which a model may not change."""
    output = x.new_empty(*x.shape[:-1], weight.shape[0])
    rows, into = x.reshape(-1, x.shape[-1]), output.view(-1, weight.shape[0])
    if bias is None:
        torch.mm(rows, weight.T, out=into)
    else:
        torch.addmm(bias, rows, weight.T, out=into)
    return output


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """OneDNN's, by a private operation of torch, which may go away."""
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return output


def rounded_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Factors and result of 8 bits, summed in float32; all else of a model stays as it is.

    Not `autocast`: it would give attention 8 bits too, whose way back torch computes ten times as slowly then
    (on a processor with bfloat16 in hardware).
    """
    output = functional.linear(x.to(weight.dtype), weight).to(x.dtype)
    return output if bias is None else output.add_(bias)


@lru_cache(maxsize=8)
def fastest(device: torch.device, dtype: torch.dtype, width: int, precision: str = "float32") -> Kernel:
    """The fastest way for frozen layers of this width, by at most some 0.3 s of measuring for each precision.

    In float32, oneDNN's product where it is clearly faster (it is a private operation of torch; MKL runs at half
    speed on processors that are not of its maker), else torch's own. bfloat16 is taken where it is asked for and
    faster; `why` says what it errs by.
    """
    rows = max(16, min(256, OPERATIONS // (8 * width * width)))
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    weight = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    exact = torch_product(x, weight, None)
    if precision == "bfloat16":
        rounded = weight.bfloat16()
        ratio = _speedup(x, weight, rounded_product, rounded)
        error = float((rounded_product(x, rounded, None) - exact).norm() / exact.norm())
        if ratio > MARGIN:
            why = f"{ratio:.1f} times as fast as float32; relative error of a product {error:.1e}"
            return Kernel("bfloat16", rounded_product, why, torch.bfloat16)
        other = fastest(device, dtype, width)
        return replace(other, why=f"{other.why}; bfloat16 is no faster here ({ratio:.1f} times)")
    if device.type != "cpu" or dtype != torch.float32:
        why = f"the only way for {str(dtype).removeprefix('torch.')} on {device.type}"
        return Kernel("torch", torch_product, why, dtype)
    try:
        error = float((onednn_product(x, weight, None) - exact).norm() / exact.norm())
    except (AttributeError, RuntimeError) as fault:
        return Kernel("torch", torch_product, f"this torch has no other: {str(fault).splitlines()[0][:80]}")
    if not error < 1e-5:
        return Kernel("torch", torch_product, f"oneDNN's products differ by {error:.1e}")
    ratio = _speedup(x, weight, onednn_product, weight)
    if ratio > MARGIN:
        return Kernel("oneDNN", onednn_product, f"{ratio:.1f} times as fast as torch's own product")
    return Kernel("torch", torch_product, f"oneDNN's product is no faster here ({ratio:.1f} times)")


def _speedup(x: Tensor, weight: Tensor, product: Product, weight_of_product: Tensor) -> float:
    """How many times as fast as torch's own product it is, the best of each.

    One thread is timed by its own clock, so that a busy machine does not choose for it.
    """
    clock = time.thread_time if x.device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    ways = {torch_product: weight, product: weight_of_product}
    best = dict.fromkeys(ways, float("inf"))
    end = time.perf_counter() + SECONDS
    for way, its_weight in ways.items():
        way(x, its_weight, None)  # the first call prepares
    repeats = 0
    while repeats < REPEATS or time.perf_counter() < end:
        repeats += 1
        for way, its_weight in ways.items():
            start = clock()
            way(x, its_weight, None)
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            best[way] = min(best[way], clock() - start)
    return best[torch_product] / best[product]
