"""A person with several examples at one client: what protects each example protects all of theirs less.

Of k examples, each is in a step's draw by itself with the sampling rate. So a step's sum moves by as many clips as were
drawn of them: Binomial(k, rate). The longest move for each number drawn is the worst (Choquette-Choo et al. 2023,
https://arxiv.org/abs/2310.15526, corollary 4.7), which makes a step a mixture of Gaussians on a line; its privacy loss,
with the k examples there or not there, is composed over the steps as that of one example is.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from bract.privacy.accounting import Use, epsilon, merged

SIZES = (2, 4, 8, 16)  # of a person's examples, that are shown
FIRST_GRID = 64  # points of the loss's grid up to k times one example's epsilon; then four times as many, and so on
SETTLED = 0.05  # a finer grid that lowers epsilon by less than this leaves an eighth of it as the error
MOST_POINTS = 3e4  # of one step's grid: beyond it takes seconds


def epsilon_of_group(uses: Iterable[Use], delta: float, examples: int) -> float:
    """An upper bound on epsilon at delta for a person with so many examples at the client, after all of these uses.

    Guaranteed: never below the true one, as the grid is rounded upwards. 0 for no uses, infinite without noise.
    """
    return _epsilon(tuple(sorted(merged(uses))), delta, examples)


def epsilons_of_groups(uses: Iterable[Use], delta: float, sizes: Sequence[int] = SIZES) -> dict[int, float]:
    """For persons of some sizes."""
    known = list(uses)
    return {size: epsilon_of_group(known, delta, size) for size in sizes}


@lru_cache(maxsize=1024)
def _epsilon(uses: tuple[Use, ...], delta: float, examples: int) -> float:
    if not uses:
        return 0.0
    if any(use.sigma <= 0 for use in uses):
        return math.inf
    if all(use.rate >= 1 for use in uses):  # all are in every draw
        return epsilon([Use(use.sigma / examples, 1.0, use.steps) for use in uses], delta)
    best, coarser, alone = _bound(uses, delta, examples), math.inf, epsilon(uses, delta)
    for finer in range(5):
        grid = max(1e-7, examples * alone / FIRST_GRID / 4**finer)
        if finer and _reach(uses, examples) / grid > MOST_POINTS:
            break
        found = _composed(uses, delta, examples, grid)
        settled = found > (1 - SETTLED) * coarser  # two grids agree
        best, coarser = min(best, found), found
        if settled:
            break
    return best


def _reach(uses: tuple[Use, ...], examples: int) -> float:
    """How far one step's loss reaches: all are drawn, and the noise is eight of its deviations off."""
    return max(examples**2 / (2 * use.sigma**2) + 8 * examples / use.sigma for use in uses)


def _composed(uses: tuple[Use, ...], delta: float, examples: int, grid: float) -> float:
    from dp_accounting.dp_event import GaussianDpEvent, MixtureOfGaussiansDpEvent
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=grid)
    try:
        for use in uses:
            drawn, chances = [float(n) for n in range(examples + 1)], _chances(examples, use.rate)
            mixed = MixtureOfGaussiansDpEvent(use.sigma, drawn, chances)
            accountant.compose(mixed if use.rate < 1 else GaussianDpEvent(use.sigma / examples), use.steps)
        found = float(accountant.get_epsilon(delta))
    except (ValueError, MemoryError, ArithmeticError):
        return math.inf  # the caller has the loose bound
    return math.inf if math.isnan(found) else max(0.0, found)


def _chances(examples: int, rate: float) -> list[float]:
    """That none, one, ... and all of them are drawn."""
    return [math.comb(examples, n) * rate**n * (1 - rate) ** (examples - n) for n in range(examples + 1)]


def _bound(uses: tuple[Use, ...], delta: float, examples: int) -> float:
    """Loose, and it never fails: as if all were drawn wherever one is."""
    wide = [Use(use.sigma / examples, 1 - (1 - use.rate) ** examples, use.steps) for use in uses]
    return epsilon(wide, delta)
