"""Everything that trains as one vector, in the order and orientation of the layout."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bract.layout import Part
from bract.model import Classifier

Where = tuple[nn.Parameter, tuple[slice | Tensor, ...]]


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

    `inside` is 1 where a value trains and 0 where it is to stay, None if all of them train.
    """

    def __init__(self, model: Classifier, parts: tuple[Part, ...], outside: list[Where] | None = None) -> None:
        self._model = model
        ordered = sorted(parts, key=lambda part: part == "head")
        self.pieces: list[Piece] = []
        start = 0
        for part in ordered:
            for parameter in model.parameters_of(part):
                span = slice(start, start := start + parameter.numel())
                self.pieces.append(Piece(parameter, part, span, model.is_turned(part)))
        self.size = start
        self.factors = sum(p.parameter.numel() for p in self.pieces if p.part != "head")
        first = self.pieces[0].parameter
        self.device, self.dtype = first.device, first.dtype
        self.inside: Tensor | None = self._mask(outside) if outside else None

    def _mask(self, outside: list[Where]) -> Tensor:
        mask = torch.ones(self.size, device=self.device, dtype=self.dtype)
        places = {id(piece.parameter): piece for piece in self.pieces}
        for parameter, where in outside:
            places[id(parameter)].of(mask)[where] = 0
        return mask

    def zeros(self) -> Tensor:
        """A vector of nothing."""
        return torch.zeros(self.size, device=self.device, dtype=self.dtype)

    def assign(self, gradient: Tensor) -> None:
        """Give every parameter its gradient."""
        for piece in self.pieces:
            piece.parameter.grad = piece.of(gradient)

    def strangers(self) -> list[str]:
        """Parameters that would train and are not in the vector."""
        mine = {id(piece.parameter) for piece in self.pieces}
        return [name for name, p in self._model.named_parameters() if p.requires_grad and id(p) not in mine]
