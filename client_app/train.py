"""Local training of one client."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bract.examples import Examples
from bract.layout import Layout, Part
from bract.model import Classifier, batch_of
from bract.settings import TrainSettings, steps_of


@dataclass(frozen=True)
class Trained:
    """What training reports."""

    examples: int
    steps: int
    loss: float
    seconds: float


def batches(examples: int, settings: TrainSettings, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Batches of a round: shuffled passes, each example once a pass."""
    left = steps_of(settings, examples)
    while left:
        order = rng.permutation(examples)
        for start in range(0, examples, settings.batch):
            yield order[start : start + settings.batch]
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
) -> Trained:
    """Train the named parts of the model in place, and nothing else.

    Where slots are named, the other slots' values are put back after every step, so that an
    optimiser's moments move nothing outside them.
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
    total, steps, seen = 0.0, 0, 0
    for rows in batches(len(examples), settings, rng):
        ids, mask = batch_of([examples.tokens[i] for i in rows], pad, model.device)
        labels = torch.from_numpy(examples.labels[rows]).to(model.device)
        losses = functional.cross_entropy(model(ids, mask), labels, reduction="none")
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        for parameter, where, value in keep:
            parameter.data[where] = value
        total += float(losses.detach().sum())
        steps += 1
        seen += len(rows)
    model.requires_grad_(False)
    return Trained(len(examples), steps, total / max(seen, 1), time.perf_counter() - start)


def _outside(
    model: Classifier, layout: Layout, parts: tuple[Part, ...], slots: NDArray[np.int64] | None
) -> list[tuple[torch.nn.Parameter, tuple[slice | torch.Tensor, ...], torch.Tensor]]:
    """What must stay as it is: parameter, where in it, and the values to put back."""
    if slots is None:
        return []
    chosen = np.zeros(layout.slots, dtype=bool)
    chosen[slots] = True
    kept: list[tuple[torch.nn.Parameter, tuple[slice | torch.Tensor, ...], torch.Tensor]] = []
    for part in parts:
        if part == "head":
            continue
        for parameter, mine in zip(model.parameters_of(part), chosen.reshape(-1, layout.rank), strict=True):
            ranks = torch.from_numpy(np.flatnonzero(~mine)).to(model.device)
            where = (ranks,) if part == "A" else (slice(None), ranks)
            kept.append((parameter, where, parameter.data[where].clone()))
    return kept
