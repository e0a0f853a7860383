"""The clip: how much of each example's gradient may go into a sum."""

import math

import torch
from torch import Tensor

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

    def scales(self, squared_norms: Tensor) -> Tensor:
        """Two numbers an example, for its factors and its head, from their squared lengths (float64, 2 x n).

        A gradient that is no number has no length to clip to: its scales are zero.
        """
        whole = squared_norms if self._groups else squared_norms.sum(0, keepdim=True)
        scales = (self._bound / whole.sqrt().clamp_min(1e-300)).clamp_max(1.0)
        fine = torch.isfinite(squared_norms).all(0)
        scales = torch.where(fine, scales, 0.0).expand(2, -1)
        clipped = torch.where(fine, squared_norms, 0.0) * scales.square()
        self._share = self._share + (clipped[1] / clipped.sum(0).clamp_min(1e-30)).sum()
        self._seen += squared_norms.shape[1]
        return scales

    @property
    def head_share(self) -> float:
        """Over all examples so far."""
        return float(self._share) / max(self._seen, 1)
