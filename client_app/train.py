"""Local training of one client."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bract.examples import Examples
from bract.layout import FACTORS, Layout, Part, Parts
from bract.model import Classifier, batch_of
from bract.settings import TrainSettings, steps_of


@dataclass(frozen=True)
class Trained:
    """What training reports; `gradients` are the steps' means, where they were asked for."""

    examples: int
    steps: int
    loss: float
    seconds: float
    gradients: Parts = field(default_factory=dict)


@dataclass(frozen=True)
class Penalty:
    """strength · ‖B‖ · ‖A‖ over the named slots, added to the loss of every step."""

    strength: float
    slots: NDArray[np.int64]


def probe_steps(settings: TrainSettings, examples: int) -> int:
    """Steps of a probe: one epoch.

    Where `train.steps` rules instead of epochs, at most a fifth of them: LoRA-A2 probes for one epoch
    and trains for five.
    """
    epoch = -(-examples // settings.batch)
    return min(epoch, -(-settings.steps // 5)) if settings.steps else epoch


def batches(examples: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """So many batches: shuffled passes, each example once a pass."""
    left = steps
    while left:
        order = rng.permutation(examples)
        for start in range(0, examples, batch):
            yield order[start : start + batch]
            left -= 1
            if not left:
                return


def train(
    model: Classifier,
    layout: Layout,
    examples: Examples,
    settings: TrainSettings,
    parts: tuple[Part, ...],
    rng: np.random.Generator,
    *,
    pad: int,
    slots: NDArray[np.int64] | None = None,
    steps: int | None = None,
    penalty: Penalty | None = None,
    gradients: bool = False,
) -> Trained:
    """Train the named parts of the model in place, and nothing else.

    Where slots are named, the other slots' values are put back after every step, so that an
    optimiser's moments and weight decay move nothing outside them. `steps` None: as the settings say.
    """
    start = time.perf_counter()
    model.requires_grad_(False)
    groups = []
    for part in parts:
        parameters = model.parameters_of(part)
        for parameter in parameters:
            parameter.requires_grad_(True)
        rate = settings.lr * (settings.lr_ratio if part == "B" else 1.0)
        groups.append({"params": parameters, "lr": rate})
    if settings.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups)
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    keep = _outside(model, layout, parts, slots)
    sums = {part: [torch.zeros_like(p) for p in model.parameters_of(part)] for part in parts if gradients}
    tails = [] if penalty is None else [_rows(model, layout, part, penalty.slots) for part in FACTORS]
    steps = steps_of(settings, len(examples)) if steps is None else steps
    total, seen = 0.0, 0
    for rows in batches(len(examples), settings.batch, steps, rng):
        ids, mask = batch_of([examples.tokens[i] for i in rows], pad, model.device)
        labels = torch.from_numpy(examples.labels[rows]).to(model.device)
        losses = functional.cross_entropy(model(ids, mask), labels, reduction="none")
        loss = losses.mean()
        if penalty is not None:
            loss = loss + penalty.strength * _norm(tails[0]) * _norm(tails[1])
        optimizer.zero_grad()
        loss.backward()
        for part, held in sums.items():
            for parameter, found in zip(model.parameters_of(part), held, strict=True):
                found += parameter.grad  # type: ignore[arg-type]  # backward has just filled it
        optimizer.step()
        for parameter, where, value in keep:
            parameter.data[where] = value
        total += float(losses.detach().sum())
        seen += len(rows)
    model.requires_grad_(False)
    means: Parts = {part: model.flat(part, [g / max(steps, 1) for g in held]) for part, held in sums.items()}
    return Trained(len(examples), steps, total / max(seen, 1), time.perf_counter() - start, means)


def _rows(
    model: Classifier, layout: Layout, part: Part, slots: NDArray[np.int64]
) -> list[tuple[torch.nn.Parameter, tuple[slice | torch.Tensor, ...]]]:
    """Each module's parameter and where in it the named slots lie."""
    chosen = np.zeros(layout.slots, dtype=bool)
    chosen[slots] = True
    found: list[tuple[torch.nn.Parameter, tuple[slice | torch.Tensor, ...]]] = []
    for parameter, mine in zip(model.parameters_of(part), chosen.reshape(-1, layout.rank), strict=True):
        ranks = torch.from_numpy(np.flatnonzero(mine)).to(model.device)
        found.append((parameter, (ranks,) if part == "A" or parameter.ndim == 1 else (slice(None), ranks)))
    return found


def _norm(rows: list[tuple[torch.nn.Parameter, tuple[slice | torch.Tensor, ...]]]) -> torch.Tensor:
    """The Frobenius norm of all of them together; its gradient at zero is zero."""
    found: torch.Tensor = torch.linalg.vector_norm(torch.cat([p[where].reshape(-1) for p, where in rows]))
    return found


def _outside(
    model: Classifier, layout: Layout, parts: tuple[Part, ...], slots: NDArray[np.int64] | None
) -> list[tuple[torch.nn.Parameter, tuple[slice | torch.Tensor, ...], torch.Tensor]]:
    """What must stay as it is: parameter, where in it, and the values to put back."""
    if slots is None:
        return []
    others = np.setdiff1d(np.arange(layout.slots), slots)
    return [
        (parameter, where, parameter.data[where].clone())
        for part in parts
        if part != "head"
        for parameter, where in _rows(model, layout, part, others)
    ]
