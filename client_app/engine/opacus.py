"""Opacus in hooks mode, and plain autograd: what is exact by construction, and what serves any model."""

import numpy as np
import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn

from bract.errors import BractError
from bract.models.lora_model import Classifier, batch_of
from bract.tasks.task import Examples, Losses
from client_app.engine.engine import Rows
from client_app.engine.flat_buffer import Flat, Piece
from client_app.engine.independence import SHARED
from client_app.privacy.clip import Clip, squares

MICRO = 32  # examples whose gradients are in memory at a time


class OpacusEngine:
    """An `Engine` over the model as PEFT made it: with a clip through Opacus's hooks, without one by autograd.

    A parameter that would train but has no gradient for each example stops it (BractError) before anything
    is updated.
    """

    def __init__(self, model: Classifier, flat: Flat, *, losses: Losses, pad: int) -> None:
        self._losses = losses
        self._model, self._flat, self._pad = model, flat, pad
        self._rows, self._called = 0, set[nn.Module]()
        self._hooks: GradSampleHooks | None = None

    def __enter__(self) -> "OpacusEngine":
        return self

    def _hook(self) -> None:
        trained = {id(piece.parameter) for piece in self._flat.pieces}
        # Hooks look only at modules in training mode; these are linear maps, which it does not change.
        self._leaves = [m for m in self._model.modules() if any(id(p) in trained for p in m.parameters(recurse=False))]
        for leaf in self._leaves:
            leaf.train()
        self._hooks = GradSampleHooks(self._model, batch_first=True, loss_reduction="sum", strict=False)
        self._checks = [leaf.register_forward_pre_hook(self._one_row_an_example) for leaf in self._leaves]

    def __exit__(self, *_: object) -> None:
        if self._hooks is None:
            return
        self._hooks.cleanup()
        for check in self._checks:
            check.remove()
        for leaf in self._leaves:
            leaf.eval()
        for piece in self._flat.pieces:
            piece.parameter.grad_sample = None  # type: ignore[attr-defined]  # Opacus's own

    def start(self) -> None:
        """Nothing is kept between steps."""

    def split(self, examples: Examples, rows: Rows, *, clipped: bool) -> list[Rows]:
        """Like lengths together where examples are alone with their gradients; else all at once."""
        if not clipped:
            return [rows]
        order = rows[np.argsort([len(examples.tokens[i]) for i in rows], kind="stable")]
        return [order[start : start + MICRO] for start in range(0, len(order), MICRO)]

    def add(self, examples: Examples, rows: Rows, total: Tensor, clip: Clip | None) -> Tensor:
        """One forward and one backward pass."""
        if clip is not None and self._hooks is None:
            self._hook()
        ids, mask = batch_of([examples.tokens[i] for i in rows], self._pad, self._model.device)
        targets = torch.from_numpy(examples.targets[rows]).to(self._model.device)
        self._rows, self._called = len(rows), set()
        for piece in self._flat.pieces:
            piece.parameter.grad_sample = None  # type: ignore[attr-defined]  # Opacus's own
            piece.parameter.grad = None
        # One loss an example, summed: a mean would make an example's gradient depend on the others.
        losses = self._losses(self._model, ids, mask, targets)
        losses.sum().backward()
        if clip is None:
            for piece in self._flat.pieces:
                if piece.parameter.grad is not None:
                    piece.of(total).add_(piece.parameter.grad)
        else:
            self._add_clipped(len(rows), total, clip)
        total_loss: Tensor = losses.detach().sum()
        return total_loss

    def _add_clipped(self, count: int, total: Tensor, clip: Clip) -> None:
        each = torch.cat([self._of(piece, count) for piece in self._flat.pieces], dim=1)
        if self._flat.inside is not None:
            each *= self._flat.inside
        cut = self._flat.factors
        groups = (each[:, :cut], each[:, cut:])
        scales = clip.scales(torch.stack([squares(group) for group in groups])).to(each.dtype)
        each[~torch.isfinite(each).all(dim=1)] = 0
        for group, scale, part in zip(groups, scales, (total[:cut], total[cut:]), strict=True):
            part += (group * scale[:, None]).sum(dim=0)

    def _one_row_an_example(self, leaf: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A map that is used for something shared (DeBERTa's relative positions) mixes the examples' gradients."""
        if inputs[0].shape[0] != self._rows or leaf in self._called:
            raise BractError(SHARED)
        self._called.add(leaf)

    def _of(self, piece: Piece, count: int) -> Tensor:
        parameter = piece.parameter
        found = getattr(parameter, "grad_sample", None)
        if not isinstance(found, Tensor) or found.shape != (count, *parameter.shape):
            name = next((n for n, p in self._model.named_parameters() if p is parameter), "a parameter")
            raise BractError(f"{name} has no gradient for each example, so it cannot be trained privately")
        return (found.transpose(1, 2) if piece.turned else found).reshape(count, -1)
