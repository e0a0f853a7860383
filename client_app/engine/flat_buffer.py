"""Everything that trains as one vector, in the order and orientation of the layout."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bract.adapter.layout import Part
from bract.models.lora_model import Classifier


@dataclass(frozen=True)
class Piece:
    """One parameter's place in the vector; `turned` where the vector holds its transpose (LoRA's B, rank first)."""

    parameter: nn.Parameter
    part: Part
    span: slice
    turned: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """As the vector holds it."""
        shape = tuple(self.parameter.shape)
        return shape[::-1] if self.turned else shape

    def of(self, vector: Tensor) -> Tensor:
        """Its values in a vector, as the parameter has them."""
        value = vector[self.span].view(self.shape)
        return value.T if self.turned else value


class Flat:
    """Where each trained parameter lies: factors first, the head behind them.

    Where slots are named, `inside` is 1 where a value trains and 0 where it is to stay; else it is None.
    """

    def __init__(self, model: Classifier, parts: tuple[Part, ...], slots: NDArray[np.int64] | None = None) -> None:
        self._model = model
        self.pieces: list[Piece] = []
        self.spans: dict[Part, slice] = {}
        start = 0
        for part in sorted(parts, key=lambda part: part == "head"):
            first = start
            for parameter in model.parameters_of(part):
                span = slice(start, start := start + parameter.numel())
                self.pieces.append(Piece(parameter, part, span, model.is_turned(part)))
            self.spans[part] = slice(first, start)
        self.size = start
        self.factors = sum(p.parameter.numel() for p in self.pieces if p.part != "head")
        one = self.pieces[0].parameter
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
        where = self.spans[part].start + self._model.layout.positions(part, slots)
        return torch.from_numpy(where).to(self.device)

    def zeros(self) -> Tensor:
        """A vector of nothing."""
        return torch.zeros(self.size, device=self.device, dtype=self.dtype)

    @torch.no_grad()
    def get(self) -> Tensor:
        """The parameters' values, as a vector of their own."""
        values = self.zeros()
        for piece in self.pieces:
            piece.of(values).copy_(piece.parameter)
        return values

    @torch.no_grad()
    def put(self, values: Tensor) -> None:
        """Lay a vector's values into the parameters."""
        for piece in self.pieces:
            piece.parameter.copy_(piece.of(values))

    def strangers(self) -> list[str]:
        """Parameters that would train and are not in the vector."""
        mine = {id(piece.parameter) for piece in self.pieces}
        return [name for name, p in self._model.named_parameters() if p.requires_grad and id(p) not in mine]
