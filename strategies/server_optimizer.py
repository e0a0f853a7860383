"""The server's own steps, from a mean of clients' noisy gradients: computed from what was released, so at no cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bract.adapter.layout import Part, Parts, Vector

MOMENTUM, SECOND, TINY = 0.8, 0.99, 1e-8
RATES = {"sgd": 2.4, "momentum": 2.4, "adam": 0.004}  # of `server.lr = 0`, by optimizer


@dataclass(frozen=True)
class Moments:
    """What the optimizer remembers of each part: running means of gradients and of their squares, and its steps."""

    first: Parts = field(default_factory=dict)
    second: Parts = field(default_factory=dict)
    steps: Mapping[Part, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerOptimizer:
    """SGD, momentum, or Adam; both moments begin at zero and are corrected for it."""

    name: Literal["sgd", "momentum", "adam"]
    rate: float  # 0: the optimizer's own
    ratio: float  # of B's rate to the others'

    def step(self, parts: Parts, gradients: Parts, before: Moments) -> tuple[Parts, Moments]:
        """The parts after a step against these gradients, and what is to be remembered."""
        rate, new, first, second, steps = self.rate or RATES[self.name], {}, {}, {}, {}
        for part, gradient in gradients.items():
            count = steps[part] = before.steps.get(part, 0) + 1
            first[part] = _mean(before.first.get(part), gradient, 0.0 if self.name == "sgd" else MOMENTUM)
            direction = first[part].astype(np.float64)
            if self.name != "sgd":
                direction /= 1 - MOMENTUM**count
            if self.name == "adam":
                second[part] = _mean(before.second.get(part), np.square(gradient), SECOND)
                direction /= np.sqrt(second[part] / (1 - SECOND**count)) + TINY
            own = rate * (self.ratio if part == "B" else 1.0)
            new[part] = (parts[part] - own * direction).astype(np.float32)
        kept = Moments({**before.first, **first}, {**before.second, **second}, {**before.steps, **steps})
        return {**parts, **new}, kept


def _mean(before: Vector | None, value: Vector, share: float) -> Vector:
    old = np.zeros_like(value) if before is None else before
    return (share * old + (1 - share) * value).astype(np.float32)
