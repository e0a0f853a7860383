"""Which slots matter to a client: scores from a probe, and the best of the whole model."""

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part, Parts, Vector
from bract.settings.choices import Score


def norms(layout: Layout, part: Part, vector: Vector) -> NDArray[np.float64]:
    """The length of each slot's row of A or column of B."""
    return np.sqrt(_sums(layout, part, vector.astype(np.float64) ** 2))


def scores(
    layout: Layout, part: Part, change: Vector, frozen: Vector, gradient: Vector, score: Score
) -> NDArray[np.float64]:
    """One number a slot for the change that a probe of `part` made, the other factor being frozen.

    product       ‖ΔB[:,i] A[i,:]‖_F = ‖ΔB[:,i]‖ ‖A[i,:]‖, and so for A: what the change does to the model
    magnitude     ‖ΔB[:,i]‖: what it does to the factor
    sensitivity   Σ_j |g_j ΔB[j,i]|, with g the probe's mean gradient: what it does to the loss, to first order
    """
    if score == "sensitivity":
        return _sums(layout, part, np.abs(gradient.astype(np.float64) * change))
    if score == "magnitude":
        return norms(layout, part, change)
    other: Part = "A" if part == "B" else "B"
    return norms(layout, part, change) * norms(layout, other, frozen)


def standing(layout: Layout, parts: Parts) -> NDArray[np.float64]:
    """What each slot does to the model as it stands: ‖B[:,i]‖ ‖A[i,:]‖."""
    return norms(layout, "B", parts["B"]) * norms(layout, "A", parts["A"])


def best(values: NDArray[np.float64], count: int, inside: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The slots with the highest values, of all or of those named, in slot order; of equal ones the first."""
    if inside is not None:
        values = np.where(np.isin(np.arange(len(values)), inside), values, -1.0)
    order = np.argsort(-values, kind="stable")
    return np.sort(order[:count]).astype(np.int64)


def _sums(layout: Layout, part: Part, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over each slot's run of values."""
    widths = layout.widths(part)
    starts = np.cumsum(widths) - widths
    return np.add.reduceat(values, starts)
