"""The reference engine: Opacus in hooks mode, and plain autograd. Exact by construction, and good for any model."""

import numpy as np
import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn

from bract.batching import batch_of
from bract.errors import BractError
from bract.models.lora_model import LoraModel
from bract.tasks.task import Examples, Losses
from client_app.engine.engine import ClipScales, Rows
from client_app.engine.flat_buffer import FlatBuffer, ParameterView
from client_app.engine.independence import SHARED
from client_app.engine.norms import squared_norms
from client_app.engine.persons import Persons, split_whole

PHYSICAL_BATCH = 32  # examples whose gradients are in memory at a time


class OpacusEngine:
    """An `Engine` over the model as PEFT made it: with a clip through Opacus's hooks, without one by autograd.

    A parameter that would train but has no gradient for each example stops it (BractError) before anything
    is updated.
    """

    def __init__(self, model: LoraModel, flat: FlatBuffer, *, losses: Losses, pad: int) -> None:
        self._losses = losses
        self._model, self._flat, self._pad = model, flat, pad
        self._rows, self._used = 0, set[nn.Module]()
        self._hooks: GradSampleHooks | None = None

    def __enter__(self) -> "OpacusEngine":
        return self

    def _hook(self) -> None:
        trained = {id(view.parameter) for view in self._flat.views}
        # Hooks look only at modules in training mode; these are linear layers, which it does not change.
        self._leaves = [m for m in self._model.modules() if any(id(p) in trained for p in m.parameters(recurse=False))]
        for leaf in self._leaves:
            leaf.train()
        self._hooks = GradSampleHooks(self._model, batch_first=True, loss_reduction="sum", strict=False)
        self._checks = [leaf.register_forward_pre_hook(self._check_use) for leaf in self._leaves]

    def __exit__(self, *_: object) -> None:
        if self._hooks is None:
            return
        self._hooks.cleanup()
        for check in self._checks:
            check.remove()
        for leaf in self._leaves:
            leaf.eval()
        for view in self._flat.views:
            view.parameter.grad_sample = None  # type: ignore[attr-defined]  # Opacus's own

    def start(self) -> None:
        """Nothing is kept between steps."""

    def split(self, examples: Examples, rows: Rows, *, clipped: bool, persons: Rows | None = None) -> list[Rows]:
        """Like lengths together where each example has a gradient of its own; else all at once."""
        if not clipped:
            return [rows]
        if persons is not None:
            lengths = np.array([len(examples.tokens[i]) for i in rows])
            bound = PHYSICAL_BATCH * int(lengths.max())
            return split_whole(lengths, persons, rows, max_tokens=bound, max_rows=PHYSICAL_BATCH, pass_cost=0)
        order = rows[np.argsort([len(examples.tokens[i]) for i in rows], kind="stable")]
        return [order[start : start + PHYSICAL_BATCH] for start in range(0, len(order), PHYSICAL_BATCH)]

    def add(
        self,
        examples: Examples,
        rows: Rows,
        total: Tensor,
        scales: ClipScales | None,
        persons: Rows | None = None,
    ) -> Tensor:
        """One forward and one backward pass."""
        if scales is not None and self._hooks is None:
            self._hook()
        ids, mask = batch_of([examples.tokens[i] for i in rows], self._pad, self._model.device)
        targets = torch.from_numpy(examples.targets[rows]).to(self._model.device)
        self._rows, self._used = len(rows), set()
        for view in self._flat.views:
            view.parameter.grad_sample = None  # type: ignore[attr-defined]  # Opacus's own
            view.parameter.grad = None
        # One loss an example, summed: a mean would make an example's gradient depend on the others.
        losses = self._losses(self._model, ids, mask, targets)
        losses.sum().backward()
        if scales is None:
            for view in self._flat.views:
                if view.parameter.grad is not None:
                    view.of(total).add_(view.parameter.grad)
        else:
            self._add_clipped(len(rows), total, scales, persons)
        total_loss: Tensor = losses.detach().sum()
        return total_loss

    def _add_clipped(self, count: int, total: Tensor, scales: ClipScales, persons: Rows | None) -> None:
        each = torch.cat([self._per_example(view, count) for view in self._flat.views], dim=1)
        if self._flat.inside is not None:
            each *= self._flat.inside
        if persons is not None:
            each = Persons.of(persons, each.device).mean(each)
        cut = self._flat.factors
        groups = (each[:, :cut], each[:, cut:])
        scale_of = scales(torch.stack([squared_norms(group) for group in groups])).to(each.dtype)
        each[~torch.isfinite(each).all(dim=1)] = 0
        for group, scale, into in zip(groups, scale_of, (total[:cut], total[cut:]), strict=True):
            into += (group * scale[:, None]).sum(dim=0)

    def _check_use(self, leaf: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A layer that is used for something shared (DeBERTa's relative positions) mixes the examples' gradients."""
        if inputs[0].shape[0] != self._rows or leaf in self._used:
            raise BractError(SHARED)
        self._used.add(leaf)

    def _per_example(self, view: ParameterView, count: int) -> Tensor:
        """A parameter's gradients, a row an example, as the buffer holds them."""
        parameter = view.parameter
        gradients = getattr(parameter, "grad_sample", None)
        if not isinstance(gradients, Tensor) or gradients.shape != (count, *parameter.shape):
            name = next((n for n, p in self._model.named_parameters() if p is parameter), "a parameter")
            raise BractError(f"{name} has no gradient for each example, so it cannot be trained privately")
        return (gradients.transpose(1, 2) if view.transposed else gradients).reshape(count, -1)
