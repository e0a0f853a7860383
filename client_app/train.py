"""Local training of one client."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bract.examples import Examples
from bract.layout import FACTORS, Layout, Part, Parts
from bract.mechanism import Mechanism
from bract.model import Classifier
from bract.noise import SecureNoise
from bract.settings import TrainSettings
from bract.steps import steps_of
from client_app.company import require_apart
from client_app.flat import Flat, Where
from client_app.pick import pick
from client_app.plain import PlainGradients
from client_app.private import PrivateGradients

# Of `train.lr = 0`, for adamw. Noise hides small steps: under it the demo learns most at five times the rate that suits
# it without.
RATE, RATE_UNDER_NOISE = 0.004, 0.02


@dataclass(frozen=True)
class Trained:
    """What training reports; `gradients` are the steps' means, where they were asked for."""

    examples: int
    steps: int
    loss: float
    seconds: float
    gradients: Parts = field(default_factory=dict)
    head_share: float = 0.0  # of the squared length of clipped gradients


@dataclass(frozen=True)
class Penalty:
    """strength · ‖B‖ · ‖A‖ over the named slots, added to the loss of every step."""

    strength: float
    slots: NDArray[np.int64]


@dataclass(frozen=True)
class Private:
    """How the gradients of a private training are made."""

    mechanism: Mechanism
    noise: SecureNoise
    groups: str = "all"


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
    private: Private | None = None,
) -> Trained:
    """Train the named parts of the model in place, and nothing else.

    Where slots are named, the other slots' values are put back after every step, so that an
    optimiser's moments and weight decay move nothing outside them. `steps` None: as the settings say.
    With `private`, every step's gradients are its noisy sums, and all else is computed from those.
    """
    start = time.perf_counter()
    model.requires_grad_(False)
    rate = settings.lr or (RATE if private is None else RATE_UNDER_NOISE)
    optimizer = _optimizer(model, settings, parts, rate)
    outside = [] if slots is None else _outside(model, layout, parts, slots)
    keep = [(parameter, where, parameter.data[where].clone()) for parameter, where in outside]
    sums = {part: [torch.zeros_like(p) for p in model.parameters_of(part)] for part in parts if gradients}
    tails = [] if penalty is None else [_rows(model, layout, part, penalty.slots) for part in FACTORS]
    steps = steps_of(settings, len(examples)) if steps is None else steps
    flat = Flat(model, parts, outside)
    total, seen = torch.zeros((), device=model.device), 0
    if private is not None:
        require_apart(model, pad=pad)
    with pick(settings, model, flat, pad=pad) as engine:
        source: PlainGradients | PrivateGradients = PlainGradients(engine, flat, settings.batch, rng)
        if private is not None:
            source = PrivateGradients(engine, flat, private.mechanism, private.noise, groups=private.groups)
        for rows in source.draws(len(examples), steps):
            total += source.fill(examples, rows)
            if penalty is not None:  # of the parameters alone: the same whatever the examples are
                (penalty.strength * _norm(tails[0]) * _norm(tails[1])).backward()
            for part, held in sums.items():
                for parameter, found in zip(model.parameters_of(part), held, strict=True):
                    found += parameter.grad  # type: ignore[arg-type]  # it has just been filled
            optimizer.step()
            for parameter, where, value in keep:
                parameter.data[where] = value
            seen += len(rows)
    model.requires_grad_(False)
    means: Parts = {part: model.flat(part, [g / max(steps, 1) for g in held]) for part, held in sums.items()}
    seconds = time.perf_counter() - start
    return Trained(len(examples), steps, float(total) / max(seen, 1), seconds, means, source.head_share)


def _optimizer(
    model: Classifier, settings: TrainSettings, parts: tuple[Part, ...], rate: float
) -> torch.optim.Optimizer:
    """A fresh optimiser over the named parts, B at its own rate; they are set to train."""
    groups = []
    for part in parts:
        parameters = model.parameters_of(part)
        for parameter in parameters:
            parameter.requires_grad_(True)
        groups.append({"params": parameters, "lr": rate * (settings.lr_ratio if part == "B" else 1.0)})
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups)
    return torch.optim.AdamW(groups, weight_decay=0.0)


def _rows(model: Classifier, layout: Layout, part: Part, slots: NDArray[np.int64]) -> list[Where]:
    """Each module's parameter and where in it the named slots lie."""
    chosen = np.zeros(layout.slots, dtype=bool)
    chosen[slots] = True
    found: list[Where] = []
    for parameter, mine in zip(model.parameters_of(part), chosen.reshape(-1, layout.rank), strict=True):
        ranks = torch.from_numpy(np.flatnonzero(mine)).to(model.device)
        found.append((parameter, (ranks,) if part == "A" or parameter.ndim == 1 else (slice(None), ranks)))
    return found


def _norm(rows: list[Where]) -> torch.Tensor:
    """The Frobenius norm of all of them together; its gradient at zero is zero."""
    found: torch.Tensor = torch.linalg.vector_norm(torch.cat([p[where].reshape(-1) for p, where in rows]))
    return found


def _outside(model: Classifier, layout: Layout, parts: tuple[Part, ...], slots: NDArray[np.int64]) -> list[Where]:
    """What must stay as it is: each factor's parameter, and where in it the slots lie that are not named."""
    others = np.setdiff1d(np.arange(layout.slots), slots)
    return [found for part in parts if part != "head" for found in _rows(model, layout, part, others)]
