"""The clip: how much of each example's gradient may go into a sum."""

import math

import torch
from torch import Tensor

LANE = 1024  # values whose squares are summed in float32
SAFE = 1 - 1e-5  # of the clip: rounding in a norm of float32 must not let anything past it


class Clip:
    """Scales that keep each example's gradient within `bound`, over all trained values together.

    By groups, the factors and the head have their own bound each, which together make the whole one.
    `head_share` is the head's part in the squared length of clipped gradients; it is private data.
    """

    def __init__(self, bound: float, *, groups: bool = False) -> None:
        self._groups = groups
        self._bound = bound * SAFE / (math.sqrt(2) if groups else 1)
        self._share: Tensor | float = 0.0
        self._seen = 0

    def scales(self, squares: Tensor) -> Tensor:
        """Two numbers an example, for its factors and its head, from their squared lengths (float64, 2 x n).

        A gradient that is no number has no length to clip to: its scales are zero.
        """
        whole = squares if self._groups else squares.sum(0, keepdim=True)
        scales = (self._bound / whole.sqrt().clamp_min(1e-300)).clamp_max(1.0)
        fine = torch.isfinite(squares).all(0)
        scales = torch.where(fine, scales, 0.0).expand(2, -1)
        clipped = torch.where(fine, squares, 0.0) * scales.square()
        self._share = self._share + (clipped[1] / clipped.sum(0).clamp_min(1e-30)).sum()
        self._seen += squares.shape[1]
        return scales

    @property
    def head_share(self) -> float:
        """Over all examples so far."""
        return float(self._share) / max(self._seen, 1)


def squares(rows: Tensor) -> Tensor:
    """Squared length of each row, in float64.

    Summed in float32 over so many values at a time only: over ten million the length would err by 1e-4.
    """
    cut = rows.shape[1] // LANE * LANE
    lanes = torch.linalg.vector_norm(rows[:, :cut].unflatten(1, (-1, LANE)), dim=2) if cut else rows[:, :0]
    rest = torch.linalg.vector_norm(rows[:, cut:], dim=1, dtype=torch.float64)
    found: Tensor = lanes.double().square().sum(1) + rest.square()
    return found
