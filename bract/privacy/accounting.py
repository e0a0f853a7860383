"""Epsilon from what was done, and the noise for a target: dp-accounting's accountants, asked carefully.

What was done is a list of uses: (noise multiplier, sampling rate, steps) of a Poisson-sampled Gaussian mechanism
under add-or-remove-one. `prv` composes the privacy loss itself, as a random variable on a grid that is rounded
upwards, and is tight; `rdp` is looser and never fails. There is no GDP: its epsilon is a limit, and lies
below the true one for numbers of steps that occur here. No torch: the server counts too.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from bract.choices import Accountant
from bract.errors import BractError

SLACK = 1 + 1e-6  # of a target: rounding in the accountant is no overspending
USELESS = 1000.0  # with a noise multiplier beyond this nothing is learned in any number of steps that one could pay

# Up to 63, and beyond: without the large ones no epsilon below 0.2 can be shown at delta = 1e-5.
ORDERS = (1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, *range(4, 64), 80, 128, 200, 320, 512, 800, 1280, 2048, 4096)

FEW_ORDERS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512, 1024)  # for a first, quick bound

FIRST_GRID = 250  # points of the loss's grid up to epsilon; then four times as many, until they make no difference
SETTLED = 0.004  # a finer grid that lowers epsilon by less than this leaves a third of it as the error
MOST_POINTS = 4e7  # of a grid, however far the loss reaches


class Use(NamedTuple):
    """So many steps with this noise multiplier and this sampling rate."""

    sigma: float
    rate: float
    steps: int


def epsilon(uses: Iterable[Use], delta: float, accountant: Accountant = "prv") -> float:
    """An upper bound on epsilon at delta, after all of these uses; 0 for none.

    Guaranteed: never below the true epsilon (`prv`: its grid is rounded upwards, and made finer until that is
    under half a percent where memory allows; `rdp`: by the conversion).
    """
    return _epsilon(tuple(sorted(merged(uses))), delta, accountant)


def merged(uses: Iterable[Use]) -> list[Use]:
    """The same with one use for each noise multiplier and sampling rate."""
    found: dict[tuple[float, float], int] = {}
    for use in uses:
        if use.steps:
            found[use.sigma, use.rate] = found.get((use.sigma, use.rate), 0) + use.steps
    return [Use(sigma, rate, steps) for (sigma, rate), steps in found.items()]


@lru_cache(maxsize=4096)
def _epsilon(uses: tuple[Use, ...], delta: float, accountant: Accountant) -> float:
    if not uses:
        return 0.0
    if any(use.sigma <= 0 for use in uses):
        return math.inf
    loose = _rdp(uses, delta, ORDERS if accountant == "rdp" else FEW_ORDERS)
    if accountant == "rdp" or not math.isfinite(loose):
        return loose
    best, coarser = loose, math.inf
    for finer in range(6):
        grid = max(1e-7, loose / FIRST_GRID / 4**finer)
        found = _composed(uses, delta, grid)
        # Two grids must agree: that both lie above RDP's bound says nothing of either.
        settled = found > (1 - SETTLED) * coarser
        best, coarser = min(best, found), found
        if settled or 4 * sum(use.steps for use in uses) / grid > MOST_POINTS * FIRST_GRID:
            break
    return best


def _composed(uses: tuple[Use, ...], delta: float, grid: float) -> float:
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=grid)
    try:
        return float(max(0.0, _told(accountant, uses).get_epsilon(delta)))
    except (ValueError, MemoryError, OverflowError):
        return math.inf  # the caller has RDP's


def _rdp(uses: tuple[Use, ...], delta: float, orders: tuple[float, ...]) -> float:
    from dp_accounting.rdp import RdpAccountant

    with quiet():  # about orders at which a series does not converge: it leaves them out
        return float(max(0.0, _told(RdpAccountant(list(orders)), uses).get_epsilon(delta)))


def _told(accountant: Any, uses: tuple[Use, ...]) -> Any:
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent

    for use in uses:
        step = GaussianDpEvent(use.sigma)
        accountant.compose(PoissonSampledDpEvent(use.rate, step) if use.rate < 1 else step, use.steps)
    return accountant


@contextmanager
def quiet() -> Iterator[None]:
    """dp-accounting keeps its warnings to itself."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@lru_cache(maxsize=4096)
def noise_for(target: float, delta: float, rate: float, steps: int, accountant: Accountant = "prv") -> float:
    """The least noise multiplier, to half a percent, with which so many steps spend at most `target`.

    Guaranteed: `epsilon([Use(sigma, rate, steps)], delta)` is at most `target`. Raises BractError where
    only a noise beyond all use would do.
    """

    def about(sigma: float) -> float:
        return _rdp((Use(sigma, rate, steps),), delta, FEW_ORDERS if accountant == "prv" else ORDERS)

    def spent(sigma: float) -> float:
        return epsilon([Use(sigma, rate, steps)], delta, accountant)

    low, high = _bracket(about, target)
    high = _bisected(about, target, low, high, 0.02)
    if accountant == "prv":  # PRV is tighter by some percent: the answer lies a little below RDP's
        low = 0.8 * high
        while low > 1e-3 and spent(low) <= target:
            low, high = 0.8 * low, low
        high = _secant(spent, target, low, high)
    # Rounded up to four digits, so that a statement's number is the one that was used.
    scale = 10.0 ** (3 - math.floor(math.log10(high)))
    return math.ceil(high * scale) / scale


def _bracket(spent: Callable[[float], float], target: float) -> tuple[float, float]:
    high = 1.0
    while spent(high) > target:
        high *= 2
        if high > 2 * USELESS:
            raise BractError(f"no noise multiplier below {USELESS:g} spends at most epsilon = {target:g}")
    low = high / 2
    while low > 1e-3 and spent(low) <= target:
        low, high = low / 2, low
    return low, high


def _bisected(spent: Callable[[float], float], target: float, low: float, high: float, within: float) -> float:
    while high / low > 1 + within:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if spent(middle) <= target else (middle, high)
    return high


def _secant(spent: Callable[[float], float], target: float, low: float, high: float) -> float:
    """As bisection, with steps along the chord of log epsilon over log sigma: two or three where that takes six."""
    at_low, at_high = spent(low), spent(high)
    for _ in range(8):
        if target - at_high <= 0.002 * target or high / low < 1.0005 or not math.isfinite(at_low):
            break
        slope = (math.log(high) - math.log(low)) / (math.log(at_high) - math.log(at_low))
        middle = math.exp(math.log(high) + slope * (math.log(0.999 * target) - math.log(at_high)))
        if not low < middle < high:
            middle = math.sqrt(low * high)
        found = spent(middle)
        if found <= target:
            high, at_high = middle, found
        else:
            low, at_low = middle, found
    return high if math.isfinite(at_low) else _bisected(spent, target, low, high, 0.005)
