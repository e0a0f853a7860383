"""The fused engine's maps: what they compute, and what they hand over on the way back."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from client_app.engine.flat_buffer import Piece
from client_app.engine.kernels import Kernel


class Taker(Protocol):
    """What gradients are handed to."""

    kernel: Kernel

    def called(self, module: nn.Module, rows: int) -> None:
        """A map is used, on so many rows."""

    def take(self, piece: Piece, left: Tensor, right: Tensor, scale: float) -> None:
        """A factor's gradient is scale · leftᵀ right, summed over an example's steps."""

    def take_head(self, linear: nn.Linear, x: Tensor, g: Tensor) -> None:
        """A head's map saw x, and its output's gradient is g."""


@dataclass(frozen=True)
class Site:
    """An adapted map: where its factors' gradients go, and its weight with the factors added.

    Where products round, nothing is merged: a small change of a weight would be rounded away.
    """

    layer: Any
    a: Tensor
    b: Tensor
    scale: float
    into: dict[str, Piece]
    merged: Tensor | None

    @torch.no_grad()
    def merge(self) -> None:
        """W + s B A, which holds for a whole step, as the factors only change after it."""
        if self.merged is not None:
            weight = self.layer.get_base_layer().weight
            weight = weight.T if self.layer.fan_in_fan_out else weight
            torch.addmm(weight, self.b, self.a, alpha=self.scale, out=self.merged)

    def weight(self, kernel: Kernel) -> Tensor:
        """What the kernel multiplies with."""
        if self.merged is not None:
            return self.merged
        return kernel.weight(self.layer.get_base_layer(), turned=self.layer.fan_in_fan_out)


class _Adapted(torch.autograd.Function):
    """An adapted map; going back, it hands its factors' gradients to the engine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor | None, site: Site, engine: Taker) -> Tensor:
        engine.called(site.layer, len(x))
        ctx.site, ctx.engine, apart = site, engine, site.merged is None
        # B's gradient needs x in the rank's few dimensions only.
        u = functional.linear(x, site.a) if apart or "B" in site.into else None
        ctx.save_for_backward(x if "A" in site.into else None, u if "B" in site.into else None)
        found = engine.kernel.product(x, site.weight(engine.kernel), site.layer.get_base_layer().bias)
        return found.add_(functional.linear(u, site.b), alpha=site.scale) if apart and u is not None else found

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        site, engine, apart = ctx.site, ctx.engine, ctx.site.merged is None
        x, u = ctx.saved_tensors
        h = g @ site.b if apart or x is not None else None
        if u is not None:
            engine.take(site.into["B"], u, g, site.scale)
        if x is not None:
            engine.take(site.into["A"], h, x, site.scale)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        back = engine.kernel.product(g, site.weight(engine.kernel).T, None)
        return back.add_(h @ site.a, alpha=site.scale) if apart else back, None, None, None


class _Head(torch.autograd.Function):
    """A trained map of the head; going back, it hands its inputs and output gradients to the engine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor | None, linear: nn.Linear, engine: Taker) -> Tensor:
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
