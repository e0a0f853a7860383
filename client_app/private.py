"""Private gradients: Poisson draws, per-example clipping, noise. What a `Mechanism` promises is done here."""

import math
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn
from torch.nn import functional

from bract.errors import BractError
from bract.examples import Examples
from bract.layout import Part
from bract.mechanism import Mechanism
from bract.model import Classifier, batch_of
from bract.noise import SecureNoise

MICRO = 32  # examples whose gradients are in memory at a time
SAFE = 1 - 1e-5  # of the clip: rounding in a norm of float32 must not let anything past it

Where = tuple[nn.Parameter, tuple[slice | Tensor, ...]]


class PrivateGradients:
    """Fills `.grad` of everything that trains with a noisy mean of clipped gradients.

    Guaranteed: one example more or less changes the sum before the noise by at most `mechanism.clip` in
    Euclidean length, over all trained values together; the noise has mechanism.sigma times that in every
    coordinate; each example is in a draw by itself with mechanism.rate. A parameter that would train but
    has no per-example gradient stops it (BractError) before anything is updated. Values outside
    `inside` count as not trained: their gradients are zero before the clip, and they get no noise.
    """

    def __init__(
        self,
        model: Classifier,
        parts: tuple[Part, ...],
        mechanism: Mechanism,
        noise: SecureNoise,
        *,
        pad: int,
        groups: str = "all",
        outside: list[Where] | None = None,
    ) -> None:
        self._model, self._mechanism, self._noise, self._pad = model, mechanism, noise, pad
        self._parameters = [p for part in parts for p in model.parameters_of(part)]
        factors = sum(p.numel() for part in parts if part != "head" for p in model.parameters_of(part))
        total = sum(p.numel() for p in self._parameters)
        cut = groups == "head" and 0 < factors < total
        self._groups = [slice(0, factors), slice(factors, total)] if cut else [slice(0, total)]
        kind = self._parameters[0].dtype if self._parameters else None
        self._inside = torch.ones(total, device=model.device, dtype=kind)
        ends = accumulate(p.numel() for p in self._parameters)
        starts = {id(p): end - p.numel() for p, end in zip(self._parameters, ends, strict=True)}
        for parameter, where in outside or []:
            mask = torch.ones_like(parameter)
            mask[where] = 0
            start = starts[id(parameter)]
            self._inside[start : start + parameter.numel()] = mask.reshape(-1)
        self.head_share = 0.0  # of the squared length of clipped gradients; private data, see `Trained`
        self._factors = factors
        self._seen = 0
        self._rows, self._called = 0, set[nn.Module]()

    def __enter__(self) -> "PrivateGradients":
        trained = {id(p) for p in self._parameters}
        others = [name for name, p in self._model.named_parameters() if p.requires_grad and id(p) not in trained]
        if others:
            raise BractError(f"{others[0]} would be trained and not clipped")
        # Hooks look only at modules in training mode; these are linear maps, which it does not change.
        self._leaves = [m for m in self._model.modules() if any(id(p) in trained for p in m.parameters(recurse=False))]
        for leaf in self._leaves:
            leaf.train()
        self._hooks = GradSampleHooks(self._model, batch_first=True, loss_reduction="sum", strict=False)
        self._checks = [leaf.register_forward_pre_hook(self._one_row_an_example) for leaf in self._leaves]
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.cleanup()
        for check in self._checks:
            check.remove()
        for leaf in self._leaves:
            leaf.eval()
        for parameter in self._parameters:
            parameter.grad_sample = None  # type: ignore[attr-defined]  # Opacus's own

    def draws(self, examples: int, steps: int) -> Iterator[NDArray[np.int64]]:
        """Poisson draws: their sizes vary, and one may be empty."""
        for _ in range(steps):
            yield self._noise.chosen(examples, self._mechanism.rate)

    def fill(self, examples: Examples, rows: NDArray[np.int64]) -> float:
        """The gradients of one step, of a whole draw; returns the draw's summed loss, which is private data."""
        order = rows[np.argsort([len(examples.tokens[i]) for i in rows], kind="stable")]  # like lengths together
        total, loss = torch.zeros_like(self._inside), 0.0
        for start in range(0, len(order), MICRO):
            some = order[start : start + MICRO]
            loss += self._add(examples, some, total)
        mechanism = self._mechanism
        noise = torch.from_numpy(self._noise.normal(len(total))).to(total) * (mechanism.sigma * mechanism.clip)
        noisy = (total + noise * self._inside) / mechanism.batch
        for parameter, piece in zip(self._parameters, noisy.split([p.numel() for p in self._parameters]), strict=True):
            parameter.grad = piece.view_as(parameter)
        return loss

    def _add(self, examples: Examples, rows: NDArray[np.int64], total: Tensor) -> float:
        """Clipped gradients of a few examples, added to the sum."""
        ids, mask = batch_of([examples.tokens[i] for i in rows], self._pad, self._model.device)
        labels = torch.from_numpy(examples.labels[rows]).to(self._model.device)
        self._rows, self._called = len(rows), set()
        for parameter in self._parameters:
            parameter.grad_sample = None  # type: ignore[attr-defined]  # Opacus's own
            parameter.grad = None
        # One loss an example, summed: a mean would make an example's gradient depend on the others.
        losses = functional.cross_entropy(self._model(ids, mask), labels, reduction="none")
        losses.sum().backward()
        each = torch.cat([self._of(parameter, len(rows)) for parameter in self._parameters], dim=1) * self._inside
        each[~torch.isfinite(each).all(dim=1)] = 0  # a gradient that is no number has no length to clip to
        bound = self._mechanism.clip * SAFE / math.sqrt(len(self._groups))
        for group in self._groups:
            lengths = torch.linalg.vector_norm(each[:, group], dim=1, dtype=torch.float64)  # float32 errs by 1e-4
            each[:, group] *= (bound / lengths.clamp_min(1e-300)).clamp_max(1.0).to(each.dtype)[:, None]
        total += each.sum(dim=0)
        self._note(each)
        return float(losses.detach().sum())

    def _one_row_an_example(self, leaf: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A map that is used for something shared (DeBERTa's relative positions) mixes the examples' gradients."""
        if inputs[0].shape[0] != self._rows or leaf in self._called:
            raise BractError(
                "the model uses an adapted map for more than each example's own states, so it cannot be trained "
                "privately with these lora.targets"
            )
        self._called.add(leaf)

    def _of(self, parameter: nn.Parameter, count: int) -> Tensor:
        found = getattr(parameter, "grad_sample", None)
        if not isinstance(found, Tensor) or found.shape != (count, *parameter.shape):
            name = next((n for n, p in self._model.named_parameters() if p is parameter), "a parameter")
            raise BractError(f"{name} has no gradient for each example, so it cannot be trained privately")
        return found.reshape(count, -1)

    def _note(self, each: Tensor) -> None:
        squares = each.square()
        whole = squares.sum(dim=1)
        if self._factors < each.shape[1]:
            shares = squares[:, self._factors :].sum(dim=1) / whole.clamp_min(1e-30)
            self.head_share = (self.head_share * self._seen + float(shares.sum())) / (self._seen + len(each))
        self._seen += len(each)
