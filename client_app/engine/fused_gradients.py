"""Where the fused layers' gradients go: into the sum, or each example's into a row of its own, to be clipped."""

import torch
from torch import Tensor, nn

from bract.errors import BractError
from client_app.engine.engine import ClipScales
from client_app.engine.flat_buffer import FlatBuffer, ParameterView
from client_app.engine.independence import SHARED
from client_app.engine.norms import squared_norms
from client_app.engine.persons import Persons


class FusedGradients:
    """Gradients of one micro-batch, as its layers hand them over on the way back.

    For each example, its gradient of the factors is a row of one buffer. That of a linear layer of the head is kept as
    what it is the product of: the layer's inputs and output gradients. Both come under one clip.
    """

    def __init__(self, flat: FlatBuffer) -> None:
        self._flat = flat
        self._views = {id(view.parameter): view for view in flat.views}
        self._buffer = torch.empty(0, flat.factors, device=flat.device, dtype=flat.dtype)
        self._into = self._buffer  # where factors' gradients are added: the sum's one row, or a row an example
        self._heads: list[tuple[nn.Linear, Tensor, Tensor]] = []
        self._used: set[nn.Module] = set()
        self._count, self._per_example = 0, False

    def view(self, parameter: nn.Parameter) -> ParameterView | None:
        """A parameter's place in the flat buffer, if it trains."""
        return self._views.get(id(parameter))

    def start(self, count: int, *, per_example: bool) -> None:
        """What follows is a pass over so many examples."""
        self._count, self._per_example = count, per_example
        self._heads, self._used = [], set()

    def sum_into(self, total: Tensor) -> None:
        """Factors' gradients are added to the total straight away."""
        self._into = total[None, : self._flat.factors]

    def keep_rows(self) -> None:
        """Factors' gradients get a row of zeros an example: a layer that the model does not use leaves them."""
        if self._count > len(self._buffer):
            self._buffer = self._buffer.new_empty(self._count, self._buffer.shape[1])
        self._into = self._buffer[: self._count].zero_()

    def check_use(self, module: nn.Module, rows: int) -> None:
        """A layer that is used for something shared (DeBERTa's relative positions) mixes the examples' gradients."""
        if self._per_example and (rows != self._count or module in self._used):
            raise BractError(SHARED)
        self._used.add(module)

    def add_factor(self, view: ParameterView, left: Tensor, right: Tensor, scale: float) -> None:
        """A factor's gradient is scale · leftᵀ right, summed over an example's tokens, or over all examples."""
        if self._per_example:
            into = self._into[:, view.span].unflatten(1, view.shape)
            into.baddbmm_(_by_token(left).transpose(1, 2), _by_token(right), alpha=scale)
        else:
            into = self._into[0, view.span].view(view.shape)
            into.addmm_(left.flatten(0, -2).T, right.flatten(0, -2), alpha=scale)

    def add_head(self, linear: nn.Linear, x: Tensor, g: Tensor) -> None:
        """A linear layer of the head got x, and its output's gradient is g."""
        self._heads.append((linear, x.detach(), g.detach()))

    def finish(self, total: Tensor, scales: ClipScales | None, persons: Persons | None = None) -> None:
        """Add to the total what is not there yet."""
        if scales is not None:
            self._add_clipped(total, scales, persons)
            return
        for linear, x, g in self._heads:
            self._add_head_to(total, linear, x, g)

    def _add_clipped(self, total: Tensor, scales: ClipScales, persons: Persons | None) -> None:
        inside, cut = self._flat.inside, self._flat.factors
        rows = self._into
        if inside is not None:
            rows *= inside[:cut]
        if persons is not None:
            rows = persons.mean(rows)
        of_factors = squared_norms(rows)
        of_head = torch.zeros_like(of_factors)
        for linear, x, g in self._heads:
            of_head += _head_squared_norms(linear, x, g) if persons is None else _of_persons(linear, x, g, persons)
        squared = torch.stack([of_factors, of_head])
        scale = scales(squared)
        broken = ~torch.isfinite(squared).all(0)
        rows.masked_fill_(broken[:, None], 0)  # no number times zero is still none
        total[:cut].addmv_(rows.T, scale[0].to(rows.dtype))
        of_row = scale[1] if persons is None else persons.shares(scale[1])
        broken = broken if persons is None else broken[persons.of_row]
        for linear, x, g in self._heads:
            shape = (-1, *[1] * (g.dim() - 1))
            scaled = (g * of_row.to(g.dtype).view(shape)).masked_fill(broken.view(shape), 0)
            self._add_head_to(total, linear, x.masked_fill(broken.view(shape), 0), scaled)

    def _add_head_to(self, total: Tensor, linear: nn.Linear, x: Tensor, g: Tensor) -> None:
        x, g = x.flatten(0, -2), g.flatten(0, -2)
        self._views[id(linear.weight)].of(total).addmm_(g.T, x)
        if linear.bias is not None:
            self._views[id(linear.bias)].of(total).add_(g.sum(0))


def _head_squared_norms(linear: nn.Linear, x: Tensor, g: Tensor) -> Tensor:
    """Squared lengths of each example's gradient, without making it where it is of rank one."""
    x, g = x.double(), g.double()
    weight = x.square().sum(-1) * g.square().sum(-1) if x.dim() == 2 else (g.mT @ x).square().sum((1, 2))
    bias = g if g.dim() == 2 else g.sum(1)
    return weight if linear.bias is None else weight + bias.square().sum(-1)


def _of_persons(linear: nn.Linear, x: Tensor, g: Tensor, persons: Persons) -> Tensor:
    """Squared lengths of the means of persons' gradients, without making these where rows' are of rank one."""
    x, g = x.double(), g.double()
    if x.dim() == 2:
        # Where, and not times zero: what is no number in one person's rows must not reach another's.
        products = torch.where(persons.same(), (x @ x.T) * (g @ g.T), 0.0)
        weight = persons.sum(products.sum(1)) / persons.counts.square()
    else:
        weight = persons.mean(g.mT @ x).square().sum((1, 2))
    bias = persons.mean(g if g.dim() == 2 else g.sum(1))
    return weight if linear.bias is None else weight + bias.square().sum(-1)


def _by_token(values: Tensor) -> Tensor:
    """Examples, tokens, dimensions."""
    return values.unsqueeze(1) if values.dim() == 2 else values.flatten(1, -2)
