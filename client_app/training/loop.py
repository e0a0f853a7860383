"""Local training of one client."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bract.adapter.layout import Part, Parts
from bract.directives.directive import Shaping
from bract.models.lora_model import Classifier
from bract.settings.schema import TrainSettings
from bract.tasks.task import Examples, Losses
from client_app.engine.flat_buffer import Flat
from client_app.engine.independence import require_independent
from client_app.engine.select_engine import pick
from client_app.privacy.private import Private
from client_app.training.optimizer import Descent
from client_app.training.plain_gradients import PlainGradients
from client_app.training.private_gradients import PrivateGradients

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


def train(
    model: Classifier,
    examples: Examples,
    settings: TrainSettings,
    parts: tuple[Part, ...],
    rng: np.random.Generator,
    *,
    losses: Losses,
    pad: int,
    slots: NDArray[np.int64] | None = None,
    steps: int,
    shapings: Sequence[Shaping] = (),
    gradients: bool = False,
    private: Private | None = None,
) -> Trained:
    """Train the named parts of the model in place, and nothing else.

    Where slots are named, nothing outside them moves. `shapings` add their terms to every step's gradient.
    With `private`, every step's gradients are its noisy sums, and all else is computed from those.
    """
    start = time.perf_counter()
    model.requires_grad_(False)
    flat = Flat(model, parts, slots)
    for piece in flat.pieces:
        piece.parameter.requires_grad_(True)
    descent = Descent(flat, settings, settings.lr or (RATE if private is None else RATE_UNDER_NOISE))
    shapes = [shaping(flat.positions) for shaping in shapings]
    summed = flat.zeros() if gradients else None
    total, seen = torch.zeros((), device=model.device), 0
    if private is not None:
        require_independent(model, pad=pad)
    with pick(settings, model, flat, losses=losses, pad=pad) as engine:
        source: PlainGradients | PrivateGradients = PlainGradients(engine, flat, settings.batch, rng)
        if private is not None:
            source = PrivateGradients(engine, flat, private.mechanism, private.noise, groups=private.groups)
        for rows in source.draws(len(examples), steps):
            gradient, loss = source.gradient(examples, rows)
            for shape in shapes:  # of the values alone: the same whatever the examples are
                shape(descent.values, gradient)
            if summed is not None:
                summed += gradient
            descent.step(gradient)
            total += loss
            seen += len(rows)
    model.requires_grad_(False)
    means: Parts = {}
    if summed is not None:
        whole = (summed / max(steps, 1)).cpu().numpy()
        means = {part: whole[span] for part, span in flat.spans.items()}
    seconds = time.perf_counter() - start
    return Trained(len(examples), steps, float(total) / max(seen, 1), seconds, means, source.head_share)
