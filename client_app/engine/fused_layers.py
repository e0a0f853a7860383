"""The fused engine's layers: what they compute, and what gradients they hand over on the way back."""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn import functional

from client_app.engine.fused_gradients import FusedGradients
from client_app.engine.kernels import Kernel


class AdaptedLayer:
    """A layer with LoRA's factors: where gradients of those that train go, and its weight with the factors merged.

    Where products have reduced precision, nothing is merged: a small change of a weight would be rounded away.
    """

    def __init__(self, layer: LoraLinear, kernel: Kernel, gradients: FusedGradients) -> None:
        a, b = (layer.get_parameter(f"lora_{factor}.default.weight") for factor in ("A", "B"))
        self.layer, self.kernel, self.gradients = layer, kernel, gradients
        self.a, self.b, self.scale = a.detach(), b.detach(), float(layer.scaling["default"])
        self.a_view, self.b_view = gradients.view(a), gradients.view(b)
        self.bias: Tensor | None = getattr(layer.get_base_layer(), "bias", None)
        self.merged: Tensor | None = None
        if not kernel.reduced_precision:
            self.merged = torch.empty(b.shape[0], a.shape[1], device=a.device, dtype=a.dtype)

    @property
    def trains(self) -> bool:
        """Whether one of its factors does."""
        return self.a_view is not None or self.b_view is not None

    @torch.no_grad()
    def merge(self) -> None:
        """W + s B A, which holds for a whole step, as the factors only change after it."""
        if self.merged is not None:
            weight: Tensor = self.layer.get_base_layer().get_parameter("weight")
            weight = weight.T if self.layer.fan_in_fan_out else weight
            torch.addmm(weight, self.b, self.a, alpha=self.scale, out=self.merged)

    def weight(self) -> Tensor:
        """What the kernel multiplies with."""
        if self.merged is not None:
            return self.merged
        return self.kernel.weight(self.layer.get_base_layer(), transposed=self.layer.fan_in_fan_out)


class _Adapted(torch.autograd.Function):
    """An adapted layer; going back, it hands its factors' gradients over."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor | None, adapted: AdaptedLayer) -> Tensor:
        adapted.gradients.check_use(adapted.layer, len(x))
        ctx.adapted, unmerged = adapted, adapted.merged is None
        # B's gradient needs x in the rank's few dimensions only.
        u = functional.linear(x, adapted.a) if unmerged or adapted.b_view is not None else None
        ctx.save_for_backward(x if adapted.a_view is not None else None, u if adapted.b_view is not None else None)
        output = adapted.kernel.product(x, adapted.weight(), adapted.bias)
        if unmerged and u is not None:
            output.add_(functional.linear(u, adapted.b), alpha=adapted.scale)
        return output

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None]:
        adapted: AdaptedLayer = ctx.adapted
        unmerged = adapted.merged is None
        x, u = ctx.saved_tensors
        h = g @ adapted.b if unmerged or x is not None else None
        if adapted.b_view is not None:
            adapted.gradients.add_factor(adapted.b_view, u, g, adapted.scale)
        if adapted.a_view is not None and h is not None:
            adapted.gradients.add_factor(adapted.a_view, h, x, adapted.scale)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        back = adapted.kernel.product(g, adapted.weight().T, None)
        if unmerged and h is not None:
            back.add_(h @ adapted.a, alpha=adapted.scale)
        return back, None, None


class _Head(torch.autograd.Function):
    """A trained linear layer of the head; going back, it hands its inputs and output gradients over."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor | None, linear: nn.Linear, gradients: FusedGradients) -> Tensor:
        gradients.check_use(linear, len(x))
        ctx.linear, ctx.gradients = linear, gradients
        ctx.save_for_backward(x)
        return functional.linear(x, linear.weight, linear.bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None]:
        (x,) = ctx.saved_tensors
        ctx.gradients.add_head(ctx.linear, x, g)
        return g @ ctx.linear.weight if ctx.needs_input_grad[0] else None, None, None, None


class _Frozen(torch.autograd.Function):
    """A frozen linear layer by another kernel than torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: nn.Linear, kernel: Kernel) -> Tensor:
        ctx.kernel, ctx.weight = kernel, kernel.weight(linear)
        return kernel.product(x, ctx.weight, linear.bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return ctx.kernel.product(g, ctx.weight.T, None), None, None


# The anchor requires a gradient, so that autograd calls `backward` also where no input does.
adapted_layer: Callable[[Tensor, Tensor | None, AdaptedLayer], Tensor] = _Adapted.apply
head_layer: Callable[[Tensor, Tensor | None, nn.Linear, FusedGradients], Tensor] = _Head.apply
frozen_layer: Callable[[Tensor, nn.Linear, Kernel], Tensor] = _Frozen.apply
