"""A server that chooses each run after seeing what the ones before it released: what it gains, computed numerically."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from dp_accounting.pld import privacy_loss_distribution
from numpy.typing import NDArray

from bract.privacy.accounting import Use

GRID = 5e-3  # of the privacy loss
REACH = 40.0  # of losses: beyond it on one side all is lost, and on the other it is rounded upwards

Rule = Callable[[list[Use]], bool]


@lru_cache(maxsize=512)
def losses_of(use: Use, side: str, pessimistic: bool) -> tuple[int, NDArray[np.float64], float]:
    """The first loss, in steps of the grid, the probabilities from there on, and that of an infinite one."""
    found: Any = privacy_loss_distribution.from_gaussian_mechanism(
        use.sigma,
        sampling_prob=use.rate,
        pessimistic_estimate=pessimistic,
        value_discretization_interval=GRID,
        use_connect_dots=pessimistic,
    ).self_compose(use.steps)
    pmf = getattr(found, f"_pmf_{side}").to_dense_pmf()
    return pmf._lower_loss, pmf._probs, pmf._infinity_mass


def worst_delta(menus: Sequence[Sequence[Use]], rule: Rule, epsilon: float, *, pessimistic: bool = True) -> float:
    """The true delta at epsilon where one run after the other is taken from the menus, the worst for what was seen.

    A run that the rule does not let fit after those before it cannot be taken. An upper bound, or a lower one.
    """
    count = round(REACH / GRID)
    points = GRID * np.arange(-count, count + 1)
    last = np.maximum(0.0, -np.expm1(np.minimum(epsilon - points, 0.0)))

    def ahead(before: list[Use], left: Sequence[Sequence[Use]], side: str) -> NDArray[np.float64]:
        """By the loss so far, what is gained at best."""
        best = last
        if left:
            for use in left[0]:
                if rule([*before, use]):
                    best = np.maximum(best, expected(use, ahead([*before, use], left[1:], side), side))
        return best

    def expected(use: Use, then: NDArray[np.float64], side: str) -> NDArray[np.float64]:
        first, probabilities, infinite = losses_of(use, side, pessimistic)
        before, after = max(0, -first), max(0, first + len(probabilities) - 1)
        wide = np.concatenate([np.full(before, then[0] if pessimistic else 0.0), then, np.ones(after)])
        start = before + first
        wide = wide[start : start + len(then) + len(probabilities) - 1]
        return np.correlate(wide, probabilities, mode="valid") + infinite

    return max(float(ahead([], menus, side)[count]) for side in ("remove", "add"))


def largest(rule: Rule, before: list[Use], rate: float, steps: int) -> Use | None:
    """The run with this rate and number of steps that has the least noise that still fits, to a thousandth."""
    low, high = 0.02, 1000.0
    if not rule([*before, Use(high, rate, steps)]):
        return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rule([*before, Use(middle, rate, steps)]) else (middle, high)
    return Use(high, rate, steps)
