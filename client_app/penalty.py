"""HetLoRA's penalty on the tail of a client's ranks: strength · ‖B_tail‖ · ‖A_tail‖, added to every step's loss."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bract.adapter.layout import FACTORS, Layout
from bract.wire.plan import Plan
from client_app import prune
from client_app.engine.flat_buffer import Flat


@dataclass(frozen=True)
class Penalty:
    """How strong, and on which slots."""

    strength: float
    slots: NDArray[np.int64]


def penalty_of(layout: Layout, plan: Plan, slots: NDArray[np.int64] | None) -> Penalty | None:
    """What a plan asks for; None where it asks for none, or where nothing is left to prune."""
    if plan.prune is None or slots is None or not plan.prune.penalty:
        return None
    tail = prune.tail(layout, len(slots) // len(layout.modules), plan.prune)
    return Penalty(plan.prune.penalty, tail) if len(tail) else None


class Tails:
    """The gradient of the penalty, where both factors train."""

    def __init__(self, flat: Flat, penalty: Penalty) -> None:
        self._strength = penalty.strength
        self._a, self._b = (flat.positions(part, penalty.slots) for part in FACTORS)

    def pull(self, values: Tensor, gradient: Tensor) -> None:
        """Add it to a gradient at these values; at a norm of zero it is zero."""
        a, b = values[self._a], values[self._b]
        long, wide = torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
        least = torch.finfo(values.dtype).tiny
        gradient[self._a] += self._strength * wide * (a / long.clamp_min(least))
        gradient[self._b] += self._strength * long * (b / wide.clamp_min(least))
