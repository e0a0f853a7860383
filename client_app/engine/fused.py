"""The fused engine: gradients of LoRA's factors from each layer's own inputs and output gradients.

PEFT's modules stay what they are; while the engine has the model, the adapted maps and the head compute through
functions of its own, which write every example's gradient, rank first, into one row of a buffer. A factor's gradient
is a product of small matrices (B's: s (x A^T)^T g; A's: s (g B)^T x), so an example's own costs no more than the sum.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bract import batching
from bract.errors import BractError
from bract.models.lora_model import Classifier, batch_of
from bract.tasks.task import Examples, Losses
from client_app.engine.engine import Rows
from client_app.engine.flat_buffer import Flat, Piece
from client_app.engine.fused_layers import Site, adapted, frozen, head
from client_app.engine.independence import SHARED, probe
from client_app.engine.kernels import Kernel
from client_app.engine.last_layer import first_position, last_layer
from client_app.engine.memory import bytes_a_token, room
from client_app.engine.prefix_cache import Prefix
from client_app.privacy.clip import Clip, squares

# In tokens: what a pass over the model costs whatever is in it, and the most that are computed together (more is no
# faster on a core; on a GPU memory is the bound).
CALL = {"cpu": batching.CALL, "cuda": 2048}
MOST = {"cpu": 1024, "cuda": 65536}

_bytes_a_token: WeakKeyDictionary[Classifier, dict[tuple[str, ...], float]] = WeakKeyDictionary()  # by kernel and parts


class FusedEngine:
    """An `Engine` for plain LoRA on linear maps and a head of linear maps; `refusal` says what it does not take.

    An example's gradient of the factors is a row of one buffer; that of a map of the head is kept as what it
    is the product of. Both come under the one clip.
    """

    def __init__(self, model: Classifier, flat: Flat, kernel: Kernel, *, losses: Losses, pad: int) -> None:
        self._losses = losses
        self._model, self._flat, self._pad, self.kernel = model, flat, pad, kernel
        self._pieces = {id(piece.parameter): piece for piece in flat.pieces}
        self._anchor = torch.zeros((), device=flat.device, requires_grad=True)
        self._sites = [self._site(layer) for layer in model.layers.values()]
        self._buffer = torch.empty(0, flat.factors, device=flat.device, dtype=flat.dtype)
        self._count, self._alone = 0, False  # of the examples in work; whether each one's gradient is wanted
        self._into = self._buffer
        self._heads: list[tuple[nn.Linear, Tensor, Tensor]] = []
        self._called: set[nn.Module] = set()
        self._lent: list[nn.Module] = []
        self._prefix = Prefix(model, kernel.name, pad=pad)
        self._bounds = (0, 0)  # tokens and examples in a pass; found at the first draw

    def _site(self, layer: Any) -> Site:
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        found = {"A": self._pieces.get(id(a)), "B": self._pieces.get(id(b))}
        into = {part: piece for part, piece in found.items() if piece is not None}
        merged = None if self.kernel.rounds else torch.empty(b.shape[0], a.shape[1], device=a.device, dtype=a.dtype)
        return Site(layer, a.detach(), b.detach(), float(layer.scaling["default"]), into, merged)

    def __enter__(self) -> "FusedEngine":
        try:
            self._lend_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _lend_all(self) -> None:
        inside: set[nn.Module] = set()
        for site in self._sites:
            inside |= set(site.layer.modules())
            anchor = self._anchor if site.into else None  # where nothing trains, nothing need come back
            self._lend(site.layer, lambda x, *_, site=site, anchor=anchor, **__: adapted(x, anchor, site, self))
        for module in self._model.modules():
            if type(module) is not nn.Linear or module in inside:
                continue
            if any(id(p) in self._pieces for p in module.parameters()):
                self._lend(module, lambda x, linear=module: head(x, self._anchor, linear, self))
            elif not self.kernel.stock:
                self._lend(module, lambda x, linear=module: frozen(x, linear, self.kernel))
        for layer in self._prefix.layers:
            self._lend(layer, partial(self._prefix.forward, layer))
        last = last_layer(self._model)
        if last is not None:
            self._lend(last, lambda x, attention_mask=None, *_, **__: first_position(last, x, attention_mask))

    def _lend(self, module: nn.Module, forward: Callable[..., Tensor]) -> None:
        module.forward = forward  # the instance's own, until the end of `with`
        self._lent.append(module)

    def __exit__(self, *_: object) -> None:
        for module in self._lent:
            del module.forward
        self._lent = []

    def start(self) -> None:
        """Merge the factors as they are now."""
        for site in self._sites:
            site.merge()

    def split(self, examples: Examples, rows: Rows, *, clipped: bool) -> list[Rows]:
        """Groups of like lengths, such that the least is computed and a pass stays within its memory."""
        self._alone = clipped
        if not all(self._bounds):
            self._bounds = self._bound()
        most, count = self._bounds
        lengths = [len(examples.tokens[i]) for i in rows]
        groups = batching.by_length(lengths, most=most, call=CALL[self._flat.device.type], rows=count)
        return [rows[group] for group in groups]

    def _bound(self) -> tuple[int, int]:
        """Tokens and examples in a pass: half of its memory for what is kept of the tokens, half for gradients."""

        def passed(tokens: int) -> Tensor:
            ids, mask = probe([tokens], self._pad, self._model)
            self._count, self._called = 1, set()
            logits: Tensor = self._model(ids, mask)
            return logits

        half, most = room(self._flat.device) / 2, MOST[self._flat.device.type]
        known = _bytes_a_token.setdefault(self._model, {})
        key = (self.kernel.name, *sorted({piece.part for piece in self._flat.pieces}))
        a_token = known.get(key) or bytes_a_token(passed, self._model.shape.length)
        known[key] = a_token  # zero is no answer: it is asked again
        a_row = self._flat.factors * self._flat.dtype.itemsize if self._alone else 0
        return (
            min(most, max(1, int(half / a_token))) if a_token else most // 4,
            min(most, max(1, int(half / a_row))) if a_row else most,
        )

    def add(self, examples: Examples, rows: Rows, total: Tensor, clip: Clip | None) -> Tensor:
        """One forward and one backward pass."""
        ids, mask = batch_of([examples.tokens[i] for i in rows], self._pad, self._model.device)
        targets = torch.from_numpy(examples.targets[rows]).to(self._model.device)
        self._count, self._alone, self._heads, self._called = len(rows), clip is not None, [], set()
        self._into = total[None, : self._flat.factors] if clip is None else self._rows_of(len(rows))
        for piece in self._flat.pieces:
            piece.parameter.grad = None
        self._prefix.start(examples, rows)
        losses = self._losses(self._model, ids, mask, targets)
        self._prefix.end()
        losses.sum().backward()
        if any(piece.parameter.grad is not None for piece in self._flat.pieces):
            raise BractError("the model uses a trained value in a way of its own; set train.engine to opacus")
        if clip is None:
            for linear, x, g in self._heads:
                self._add_head(total, linear, x, g)
        else:
            self._add_clipped(total, clip)
        total_loss: Tensor = losses.detach().sum()
        return total_loss

    def _rows_of(self, count: int) -> Tensor:
        """A row of zeros for each example: a map that the model does not use leaves them."""
        if count > len(self._buffer):
            self._buffer = self._buffer.new_empty(count, self._buffer.shape[1])
        return self._buffer[:count].zero_()

    def called(self, module: nn.Module, rows: int) -> None:
        """A map that is used for something shared (DeBERTa's relative positions) mixes the examples' gradients."""
        if self._alone and (rows != self._count or module in self._called):
            raise BractError(SHARED)
        self._called.add(module)

    def take(self, piece: Piece, left: Tensor, right: Tensor, scale: float) -> None:
        """Add scale · leftᵀ right, for each example or for all together."""
        if self._alone:
            into = self._into[:, piece.span].unflatten(1, piece.shape)
            into.baddbmm_(_steps(left).transpose(1, 2), _steps(right), alpha=scale)
        else:
            into = self._into[0, piece.span].view(piece.shape)
            into.addmm_(left.flatten(0, -2).T, right.flatten(0, -2), alpha=scale)

    def take_head(self, linear: nn.Linear, x: Tensor, g: Tensor) -> None:
        """Keep what the gradients of a head's map are products of."""
        self._heads.append((linear, x.detach(), g.detach()))

    def _add_clipped(self, total: Tensor, clip: Clip) -> None:
        inside, cut = self._flat.inside, self._flat.factors
        each = self._into
        if inside is not None:
            each *= inside[:cut]
        factors = squares(each)
        of_head = torch.zeros_like(factors)
        for linear, x, g in self._heads:
            of_head += self._head_squares(linear, x, g)
        both = torch.stack([factors, of_head])
        scales = clip.scales(both).to(each.dtype)
        broken = ~torch.isfinite(both).all(0)
        each.masked_fill_(broken[:, None], 0)  # no number times zero is still none
        total[:cut].addmv_(each.T, scales[0])
        for linear, x, g in self._heads:
            shape = (-1, *[1] * (g.dim() - 1))
            scaled = (g * scales[1].view(shape)).masked_fill(broken.view(shape), 0)
            self._add_head(total, linear, x.masked_fill(broken.view(shape), 0), scaled)

    def _head_squares(self, linear: nn.Linear, x: Tensor, g: Tensor) -> Tensor:
        """Squared lengths of each example's gradient, without making it where it is of rank one."""
        x, g = x.double(), g.double()
        weight = x.square().sum(-1) * g.square().sum(-1) if x.dim() == 2 else (g.mT @ x).square().sum((1, 2))
        bias = g if g.dim() == 2 else g.sum(1)
        return weight if linear.bias is None else weight + bias.square().sum(-1)

    def _add_head(self, total: Tensor, linear: nn.Linear, x: Tensor, g: Tensor) -> None:
        x, g = x.flatten(0, -2), g.flatten(0, -2)
        weight = self._pieces[id(linear.weight)]
        weight.of(total).addmm_(g.T, x)
        if linear.bias is not None:
            self._pieces[id(linear.bias)].of(total).add_(g.sum(0))


def _steps(values: Tensor) -> Tensor:
    """Examples, steps, dimensions."""
    return values.unsqueeze(1) if values.dim() == 2 else values.flatten(1, -2)
