"""The fused engine's maps: what they compute, and what they hand over on the way back."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from client_app.flat import Piece
from client_app.kernels import Kernel, Product


class Taker(Protocol):
    """What gradients are handed to."""

    product: Product

    def called(self, module: nn.Module, rows: int) -> None:
        """A map is used, on so many rows."""

    def take(self, piece: Piece, left: Tensor, right: Tensor, scale: float) -> None:
        """A factor's gradient is scale · leftᵀ right, summed over an example's steps."""

    def take_head(self, linear: nn.Linear, x: Tensor, g: Tensor) -> None:
        """A head's map saw x, and its output's gradient is g."""


@dataclass(frozen=True)
class Site:
    """An adapted map: its frozen weight with the factors added, and where its factors' gradients go."""

    layer: Any
    a: Tensor
    b: Tensor
    scale: float
    into: dict[str, Piece]
    merged: Tensor

    @torch.no_grad()
    def merge(self) -> None:
        """W + s B A, which holds for a whole step, as the factors only change after it."""
        base = self.layer.get_base_layer()
        weight = base.weight.T if self.layer.fan_in_fan_out else base.weight
        self.merged.copy_(torch.addmm(weight, self.b, self.a, alpha=self.scale))


class _Adapted(torch.autograd.Function):
    """A merged map; going back, it hands its factors' gradients to the engine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, site: Site, engine: Taker) -> Tensor:
        engine.called(site.layer, len(x))
        ctx.site, ctx.engine = site, engine
        # B's gradient needs x in the rank's few dimensions only.
        u = functional.linear(x, site.a) if "B" in site.into else None
        ctx.save_for_backward(x if "A" in site.into else None, u)
        return engine.product(x, site.merged, site.layer.get_base_layer().bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        site, engine = ctx.site, ctx.engine
        x, u = ctx.saved_tensors
        if u is not None:
            engine.take(site.into["B"], u, g, site.scale)
        if x is not None:
            engine.take(site.into["A"], g @ site.b, x, site.scale)
        return engine.product(g, site.merged.T, None) if ctx.needs_input_grad[0] else None, None, None, None


class _Head(torch.autograd.Function):
    """A trained map of the head; going back, it hands its inputs and output gradients to the engine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, linear: nn.Linear, engine: Taker) -> Tensor:
        engine.called(linear, len(x))
        ctx.linear, ctx.engine = linear, engine
        ctx.save_for_backward(x)
        return functional.linear(x, linear.weight, linear.bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        ctx.engine.take_head(ctx.linear, x, g)
        return g @ ctx.linear.weight if ctx.needs_input_grad[0] else None, None, None, None


class _Frozen(torch.autograd.Function):
    """A frozen map by another kernel than torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: nn.Linear, kernel: Kernel) -> Tensor:
        ctx.kernel, ctx.weight = kernel, kernel.weight(linear)
        return kernel.product(x, ctx.weight, linear.bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return ctx.kernel.product(g, ctx.weight.T, None), None, None


adapted: Any = _Adapted.apply
head: Any = _Head.apply
frozen: Any = _Frozen.apply
