"""The fused engine: gradients of LoRA's factors from each layer's own inputs and output gradients.

PEFT's modules stay what they are; while the engine has the model, the adapted layers and the head are patched: they
compute through functions of the engine's own, which write every example's gradient, rank first, into one row of a
buffer. A factor's gradient is a product of small matrices (B's: s (x A^T)^T g; A's: s (g B)^T x), so an example's own
costs no more than the sum.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from bract import batching
from bract.errors import BractError
from bract.models.lora_model import LoraModel
from bract.tasks.task import Examples, Losses
from client_app.engine.engine import ClipScales, Rows
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.fused_gradients import FusedGradients
from client_app.engine.fused_layers import AdaptedLayer, adapted_layer, frozen_layer, head_layer
from client_app.engine.independence import synthetic_batch
from client_app.engine.kernels import Kernel
from client_app.engine.last_layer import first_position, last_layer
from client_app.engine.memory import bytes_per_token, memory_budget
from client_app.engine.persons import Persons, split_whole
from client_app.engine.prefix_cache import PrefixCache

# In tokens: what a pass over the model costs whatever is in it, and the most that are computed together (more is no
# faster on a core; on a GPU memory is the bound).
PASS_COST = {"cpu": batching.PASS_COST, "cuda": 2048}
MAX_TOKENS = {"cpu": 1024, "cuda": 65536}

_bytes_per_token: WeakKeyDictionary[LoraModel, dict[tuple[str, ...], float]] = WeakKeyDictionary()  # by kernel, parts


class FusedEngine:
    """An `Engine` for plain LoRA on linear layers and a head of linear layers; `supported.py` says what it refuses."""

    def __init__(self, model: LoraModel, flat: FlatBuffer, kernel: Kernel, *, losses: Losses, pad: int) -> None:
        self._losses = losses
        self._model, self._flat, self._pad, self._kernel = model, flat, pad, kernel
        self._gradients = FusedGradients(flat)
        self._adapted = [AdaptedLayer(layer, kernel, self._gradients) for layer in model.layers.values()]
        self._anchor = torch.zeros((), device=flat.device, requires_grad=True)
        self._patches = ExitStack()
        self._prefix = PrefixCache(model, kernel.name, pad=pad)
        self._bounds = (0, 0)  # tokens and examples in a micro-batch; known from the first batch on

    def __enter__(self) -> "FusedEngine":
        with ExitStack() as patches:  # undone where one of them fails
            self._patch_adapted(patches)
            self._patch_linears(patches)
            for layer in self._prefix.layers:
                _patch(patches, layer, partial(self._prefix.forward, layer))
            last = last_layer(self._model)
            if last is not None:
                _patch(patches, last, lambda x, attention_mask=None, *_, **__: first_position(last, x, attention_mask))
            self._patches = patches.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def _patch_adapted(self, patches: ExitStack) -> None:
        for adapted in self._adapted:
            anchor = self._anchor if adapted.trains else None  # where nothing trains, nothing need come back
            _patch(
                patches,
                adapted.layer,
                lambda x, *_, adapted=adapted, anchor=anchor, **__: adapted_layer(x, anchor, adapted),
            )

    def _patch_linears(self, patches: ExitStack) -> None:
        inside = {module for adapted in self._adapted for module in adapted.layer.modules()}
        for module in self._model.modules():
            if type(module) is not nn.Linear or module in inside:
                continue
            if any(self._gradients.view(parameter) for parameter in module.parameters()):
                _patch(
                    patches,
                    module,
                    lambda x, linear=module: head_layer(x, self._anchor, linear, self._gradients),
                )
            elif not self._kernel.is_default:
                _patch(patches, module, lambda x, linear=module: frozen_layer(x, linear, self._kernel))

    def start(self) -> None:
        """Merge the factors as they are now."""
        for adapted in self._adapted:
            adapted.merge()

    def split(self, examples: Examples, rows: Rows, *, clipped: bool, persons: Rows | None = None) -> list[Rows]:
        """Groups of like lengths, such that the least is computed and a pass stays within its memory."""
        if not all(self._bounds):
            self._bounds = self._bound(per_example=clipped)
        max_tokens, max_rows = self._bounds
        lengths = [len(examples.tokens[i]) for i in rows]
        cost = PASS_COST[self._flat.device.type]
        if persons is not None and len(rows):
            size = np.array(lengths)
            return split_whole(size, persons, rows, max_tokens=max_tokens, max_rows=max_rows, pass_cost=cost)
        groups = batching.by_length(lengths, max_tokens=max_tokens, pass_cost=cost, max_rows=max_rows)
        return [rows[group] for group in groups]

    def _bound(self, *, per_example: bool) -> tuple[int, int]:
        """Tokens and examples in a pass: half of its memory for what is kept of the tokens, half for gradients."""

        def forward(tokens: int) -> Tensor:
            ids, mask = synthetic_batch([tokens], self._pad, self._model)
            self._gradients.start(1, per_example=per_example)
            logits: Tensor = self._model(ids, mask)
            return logits

        half, most = memory_budget(self._flat.device) / 2, MAX_TOKENS[self._flat.device.type]
        known = _bytes_per_token.setdefault(self._model, {})
        key = (self._kernel.name, *sorted({view.part for view in self._flat.views}))
        per_token = known.get(key) or bytes_per_token(forward, self._model.shape.length)
        known[key] = per_token  # zero is no answer: it is asked again
        per_row = self._flat.factors * self._flat.dtype.itemsize if per_example else 0
        return (
            min(most, max(1, int(half / per_token))) if per_token else most // 4,
            min(most, max(1, int(half / per_row))) if per_row else most,
        )

    def add(
        self,
        examples: Examples,
        rows: Rows,
        total: Tensor,
        scales: ClipScales | None,
        persons: Rows | None = None,
    ) -> Tensor:
        """One forward and one backward pass."""
        ids, mask = batching.batch_of([examples.tokens[i] for i in rows], self._pad, self._model.device)
        targets = torch.from_numpy(examples.targets[rows]).to(self._model.device)
        self._gradients.start(len(rows), per_example=scales is not None)
        if scales is None:
            self._gradients.sum_into(total)
        else:
            self._gradients.keep_rows()
        for view in self._flat.views:
            view.parameter.grad = None
        self._prefix.start(examples, rows)
        losses = self._losses(self._model, ids, mask, targets)
        self._prefix.end()
        losses.sum().backward()
        if any(view.parameter.grad is not None for view in self._flat.views):
            raise BractError("the model uses a trained value in a way of its own; set train.engine to opacus")
        whose = None if persons is None else Persons.of(persons, total.device)
        self._gradients.finish(total, scales, whose)
        total_loss: Tensor = losses.detach().sum()
        return total_loss


def _patch(patches: ExitStack, module: nn.Module, forward: Callable[..., Tensor]) -> None:
    """Give the module a forward of its own, until the patches are undone."""
    module.forward = forward
    patches.callback(delattr, module, "forward")
