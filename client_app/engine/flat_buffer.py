"""Everything that trains as one vector, in the order and orientation of the layout."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bract.adapter.layout import Part
from bract.models.lora_model import LoraModel


@dataclass(frozen=True)
class ParameterView:
    """One parameter's place in a flat buffer, which holds its transpose where `transposed` (LoRA's B, rank first)."""

    parameter: nn.Parameter
    part: Part
    span: slice
    transposed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """As the buffer holds it."""
        shape = tuple(self.parameter.shape)
        return shape[::-1] if self.transposed else shape

    def of(self, buffer: Tensor) -> Tensor:
        """Its values in a buffer, as the parameter has them: a view, so that writing there writes the buffer."""
        value = buffer[self.span].view(self.shape)
        return value.T if self.transposed else value


class FlatBuffer:
    """Where each trained parameter lies in one vector: the factors first, the head behind them.

    `size` counts the vector's values, `factors` those of the adapter's factors. Where slots are named, `inside` is 1
    where a value trains and 0 where it is to stay; else it is None.
    """

    def __init__(self, model: LoraModel, parts: tuple[Part, ...], slots: NDArray[np.int64] | None = None) -> None:
        self._model = model
        self.views: list[ParameterView] = []
        self.spans: dict[Part, slice] = {}
        start = 0
        for part in sorted(parts, key=lambda part: part == "head"):
            first = start
            for parameter in model.parameters_of(part):
                span = slice(start, start := start + parameter.numel())
                self.views.append(ParameterView(parameter, part, span, model.is_transposed(part)))
            self.spans[part] = slice(first, start)
        self.size = start
        self.factors = sum(view.parameter.numel() for view in self.views if view.part != "head")
        one = self.views[0].parameter
        self.device, self.dtype = one.device, one.dtype
        self.inside: Tensor | None = None if slots is None else self._mask(slots)

    def _mask(self, slots: NDArray[np.int64]) -> Tensor:
        mask = self.zeros()
        for part, span in self.spans.items():
            if part == "head":
                mask[span] = 1
            else:
                mask[self.positions(part, slots)] = 1
        return mask

    def positions(self, part: Part, slots: NDArray[np.int64]) -> Tensor:
        """Where the named slots' values of a factor lie."""
        positions = self.spans[part].start + self._model.layout.positions(part, slots)
        return torch.from_numpy(positions).to(self.device)

    def zeros(self) -> Tensor:
        """A vector of zeros."""
        return torch.zeros(self.size, device=self.device, dtype=self.dtype)

    @torch.no_grad()
    def values(self) -> Tensor:
        """A copy of the parameters' values."""
        values = self.zeros()
        for view in self.views:
            view.of(values).copy_(view.parameter)
        return values

    @torch.no_grad()
    def load(self, values: Tensor) -> None:
        """Copy a vector's values into the parameters."""
        for view in self.views:
            view.parameter.copy_(view.of(values))

    def missing(self) -> list[str]:
        """Names of parameters that require a gradient and are not in the vector."""
        known = {id(view.parameter) for view in self.views}
        return [name for name, p in self._model.named_parameters() if p.requires_grad and id(p) not in known]
