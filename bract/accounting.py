"""Epsilon from what was done, and the noise for a target: Opacus's accountants, asked carefully.

What was done is a list of uses: (noise multiplier, sampling rate, steps) of a Poisson-sampled Gaussian mechanism
under add-or-remove-one. PRV is tight; RDP is looser and never fails. There is no GDP: its epsilon is
a limit, and lies below the true one for numbers of steps that occur here.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from bract.errors import BractError

Accountant = Literal["prv", "rdp"]

USELESS = 1000.0  # with a noise multiplier beyond this nothing is learned in any number of steps that one could pay

# Opacus's own orders end at 63: with them no epsilon below 0.2 can be shown at delta = 1e-5.
LARGE_ORDERS = (80, 128, 200, 320, 512, 800, 1280, 2048, 4096)


class Use(NamedTuple):
    """So many steps with this noise multiplier and this sampling rate."""

    sigma: float
    rate: float
    steps: int


def epsilon(uses: Iterable[Use], delta: float, accountant: Accountant = "prv") -> float:
    """An upper bound on epsilon at delta, after all of these uses; 0 for none.

    Guaranteed: never below the true epsilon (PRV: by its own error bound, which is kept under half a
    percent; RDP: by the conversion). Where PRV finds no number, RDP's is given, which is larger.
    """
    merged: dict[tuple[float, float], int] = {}
    for use in uses:
        if use.steps:
            merged[use.sigma, use.rate] = merged.get((use.sigma, use.rate), 0) + use.steps
    return _epsilon(tuple(Use(s, q, n) for (s, q), n in sorted(merged.items())), delta, accountant)


@lru_cache(maxsize=4096)
def _epsilon(uses: tuple[Use, ...], delta: float, accountant: Accountant) -> float:
    if not uses:
        return 0.0
    if any(use.sigma <= 0 for use in uses):
        return math.inf
    loose = _rdp(uses, delta)
    if accountant == "rdp" or not math.isfinite(loose):
        return loose
    return min(loose, _prv(uses, delta, max(2e-5, loose / 250)))


def _rdp(uses: tuple[Use, ...], delta: float) -> float:
    from opacus.accountants import RDPAccountant

    found = RDPAccountant()
    found.history = [tuple(use) for use in uses]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best order is at the end of the list: then it is looser still
        return max(0.0, float(found.get_epsilon(delta, alphas=[*found.DEFAULT_ALPHAS, *LARGE_ORDERS])))


def _prv(uses: tuple[Use, ...], delta: float, error: float) -> float:
    from opacus.accountants import PRVAccountant

    found = PRVAccountant()
    found.history = [tuple(use) for use in uses]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = float(found.get_epsilon(delta, eps_error=error))
    except (ValueError, RuntimeError, MemoryError, OverflowError):
        return math.inf  # the caller has RDP's
    return value if math.isfinite(value) and value >= 0 else math.inf


@lru_cache(maxsize=4096)
def noise_for(target: float, delta: float, rate: float, steps: int, accountant: Accountant = "prv") -> float:
    """The least noise multiplier, to half a percent, with which so many steps spend at most `target`.

    Guaranteed: `epsilon([Use(sigma, rate, steps)], delta)` is at most `target`. Raises BractError where
    only a noise beyond all use would do.
    """

    def spent(sigma: float, by: Accountant) -> float:
        return epsilon([Use(sigma, rate, steps)], delta, by)

    low, high = _bracket(lambda sigma: spent(sigma, "rdp"), target)
    high = _bisected(lambda sigma: spent(sigma, "rdp"), target, low, high, 0.02)
    if accountant == "prv":  # PRV is tighter by some percent: the answer lies a little below RDP's
        low = 0.8 * high
        while low > 1e-3 and spent(low, "prv") <= target:
            low, high = 0.8 * low, low
        high = _secant(lambda sigma: spent(sigma, "prv"), target, low, high)
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
