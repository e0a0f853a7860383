"""Local training of one client."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bract.adapter.layout import Part, Parts
from bract.directives.directive import Shaping
from bract.models.lora_model import LoraModel
from bract.settings.schema import TrainSettings
from bract.tasks.task import Examples, Losses
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.independence import require_independent
from client_app.privacy.budget import Private
from client_app.training.gradients import PlainGradients, PrivateGradients
from client_app.training.optimizer import FlatOptimizer

# Of `train.lr = 0`, for adamw. Noise hides small steps: under it the demo learns most at five times the rate that suits
# it without.
RATE, RATE_UNDER_NOISE = 0.004, 0.02


@dataclass(frozen=True)
class Phase:
    """Some steps of local training: a round's own, those of a probe before it, those of a last phase after all rounds.

    Where slots are named, nothing outside them moves. `shapings` add their terms to every step's gradient.
    """

    parts: tuple[Part, ...]
    steps: int
    slots: NDArray[np.int64] | None = None
    shapings: Sequence[Shaping] = ()
    gradients: bool = False  # whether the steps' mean gradients are asked for


@dataclass(frozen=True)
class Trained:
    """What training reports; `gradients` are the steps' means, where they were asked for."""

    examples: int
    steps: int
    loss: float
    seconds: float
    gradients: Parts = field(default_factory=dict)
    head_share: float = 0.0  # of the squared length of clipped gradients


def train(
    model: LoraModel,
    examples: Examples,
    settings: TrainSettings,
    phase: Phase,
    rng: np.random.Generator,
    *,
    losses: Losses,
    pad: int,
    private: Private | None = None,
) -> Trained:
    """Train the phase's parts of the model in place, and nothing else.

    With `private`, every step's gradients are its noisy sums, and all else is computed from those; there are no more
    steps than it was charged for.
    """
    start = time.perf_counter()
    if private is not None:
        private.take(phase.steps)
    model.requires_grad_(False)
    flat = FlatBuffer(model, phase.parts, phase.slots)
    for view in flat.views:
        view.parameter.requires_grad_(True)
    optimizer = FlatOptimizer(flat, settings, settings.lr or (RATE if private is None else RATE_UNDER_NOISE))
    shapes = [shaping(flat.positions) for shaping in phase.shapings]
    gradient_sum = flat.zeros() if phase.gradients else None
    loss_sum, drawn = torch.zeros((), device=model.device), 0
    if private is not None:
        require_independent(model, pad=pad)
    with select_engine(settings, model, flat, losses=losses, pad=pad) as engine:
        source: PlainGradients | PrivateGradients = PlainGradients(engine, flat, settings.batch, rng)
        if private is not None:
            source = PrivateGradients(
                engine,
                flat,
                private.mechanism,
                private.noise,
                groups=private.groups,
                per_person=private.per_person,
            )
        for rows in source.draws(examples, phase.steps):
            gradient, loss = source.gradient(examples, rows)
            for shape in shapes:  # of the values alone: the same whatever the examples are
                shape(optimizer.values, gradient)
            if gradient_sum is not None:
                gradient_sum += gradient
            optimizer.step(gradient)
            loss_sum += loss
            drawn += len(rows)
    model.requires_grad_(False)
    means: Parts = {}
    if gradient_sum is not None:
        mean = (gradient_sum / max(phase.steps, 1)).cpu().numpy()
        means = {part: mean[span] for part, span in flat.spans.items()}
    seconds = time.perf_counter() - start
    return Trained(len(examples), phase.steps, float(loss_sum) / max(drawn, 1), seconds, means, source.head_share)


def clipped_sum(
    model: LoraModel,
    examples: Examples,
    settings: TrainSettings,
    phase: Phase,
    *,
    losses: Losses,
    pad: int,
    private: Private,
) -> dict[Part, NDArray[np.float64]]:
    """The clipped gradients of one draw at the model as it stands, added up by part. No noise is on them.

    Nothing of the model changes. It is one of the steps that were charged.
    """
    private.take(1)
    model.requires_grad_(False)
    flat = FlatBuffer(model, phase.parts, phase.slots)
    for view in flat.views:
        view.parameter.requires_grad_(True)
    require_independent(model, pad=pad)
    with select_engine(settings, model, flat, losses=losses, pad=pad) as engine:
        source = PrivateGradients(engine, flat, private.mechanism, private.noise, per_person=private.per_person)
        (rows,) = source.draws(examples, 1)
        total = source.clipped_sum(examples, rows)
    model.requires_grad_(False)
    return {part: total[span] for part, span in flat.spans.items()}
