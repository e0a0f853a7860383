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
ROUNDS = 8  # at least, on a machine that is too busy for more
OPERATIONS = 2**29  # in a product that is measured, so that a wide model's takes no seconds
MARGIN = 1.4  # as fast as torch's own, or it is not taken: the choice should be the processor's, not the moment's

_rounded: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


@dataclass(frozen=True)
class Kernel:
    """A way to compute x @ weight.T + bias from a weight of `dtype`, and why it was chosen."""

    name: str
    product: Product
    why: str
    dtype: torch.dtype = torch.float32

    @property
    def stock(self) -> bool:
        """Whether it is what the modules do by themselves."""
        return self.product is _stock

    @property
    def rounds(self) -> bool:
        """Whether it computes with fewer bits than the weights have."""
        return self.product is _rounding

    def weight(self, frozen: nn.Module, *, turned: bool = False) -> Tensor:
        """A frozen map's weight as the product wants it; a rounded copy is made once for the model's life."""
        weight: Tensor = frozen.weight.T if turned else frozen.weight  # type: ignore[assignment]
        if not self.rounds:
            return weight
        if frozen not in _rounded:
            _rounded[frozen] = weight.detach().to(self.dtype)
        return _rounded[frozen]


def _stock(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Into a tensor of its own: for more than two dimensions torch gives a view, which a model may not change."""
    found = x.new_empty(*x.shape[:-1], weight.shape[0])
    rows, into = x.reshape(-1, x.shape[-1]), found.view(-1, weight.shape[0])
    if bias is None:
        torch.mm(rows, weight.T, out=into)
    else:
        torch.addmm(bias, rows, weight.T, out=into)
    return found


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def _rounding(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Factors and result of 8 bits, summed in float32; all else of a model stays as it is.

    Not `autocast`: it would give attention 8 bits too, whose way back torch computes ten times as slowly then
    (on a processor with bfloat16 in hardware).
    """
    found = functional.linear(x.to(weight.dtype), weight).to(x.dtype)
    return found if bias is None else found.add_(bias)


@lru_cache(maxsize=8)
def fastest(device: torch.device, dtype: torch.dtype, width: int, precision: str = "float32") -> Kernel:
    """The fastest way for frozen maps of this width, by at most some 0.3 s of measuring for each precision.

    In float32, oneDNN's product where it is clearly faster (it is a private operation of torch; MKL runs at half
    speed on processors that are not of its maker), else torch's own. bfloat16 is taken where it is asked for and
    faster; `why` says what it errs by.
    """
    rows = max(16, min(256, OPERATIONS // (8 * width * width)))
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    weight = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    exact = _stock(x, weight, None)
    if precision == "bfloat16":
        rounded = weight.bfloat16()
        ratio = _faster(x, weight, _rounding, rounded)
        error = float((_rounding(x, rounded, None) - exact).norm() / exact.norm())
        if ratio > MARGIN:
            why = f"{ratio:.1f} times as fast as float32; relative error of a product {error:.1e}"
            return Kernel("bfloat16", _rounding, why, torch.bfloat16)
        other = fastest(device, dtype, width)
        return replace(other, why=f"{other.why}; bfloat16 is no faster here ({ratio:.1f} times)")
    if device.type != "cpu" or dtype != torch.float32:
        return Kernel("torch", _stock, f"the only way for {str(dtype).removeprefix('torch.')} on {device.type}", dtype)
    try:
        error = float((_onednn(x, weight, None) - exact).norm() / exact.norm())
    except (AttributeError, RuntimeError) as fault:
        return Kernel("torch", _stock, f"this torch has no other: {str(fault).splitlines()[0][:80]}")
    if not error < 1e-5:
        return Kernel("torch", _stock, f"oneDNN's products differ by {error:.1e}")
    ratio = _faster(x, weight, _onednn, weight)
    if ratio > MARGIN:
        return Kernel("oneDNN", _onednn, f"{ratio:.1f} times as fast as torch's own product")
    return Kernel("torch", _stock, f"oneDNN's product is no faster here ({ratio:.1f} times)")


def _faster(x: Tensor, weight: Tensor, product: Product, its: Tensor) -> float:
    """How many times as fast as torch's own, the best of each.

    One thread is timed by its own clock, so that a busy machine does not choose for it.
    """
    clock = time.thread_time if x.device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    ways = {_stock: weight, product: its}
    best = dict.fromkeys(ways, float("inf"))
    end = time.perf_counter() + SECONDS
    for way, form in ways.items():
        way(x, form, None)  # the first call prepares
    rounds = 0
    while rounds < ROUNDS or time.perf_counter() < end:
        rounds += 1
        for way, form in ways.items():
            start = clock()
            way(x, form, None)
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            best[way] = min(best[way], clock() - start)
    return best[_stock] / best[product]
