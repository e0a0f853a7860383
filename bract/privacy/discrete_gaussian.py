"""Integers with the discrete Gaussian law: noise for sums of integers, which no rounding gives away."""

import math

import numpy as np
from numpy.typing import NDArray

from bract.privacy.noise import BLOCK, SecureNoise

LARGEST = 2.0**40  # deviation
MANY = 10**7  # values, above which a rounded normal number serves
SMOOTH = 2.0**12  # and the deviation from which it does


def discrete_gaussian(noise: SecureNoise, deviation: float, count: int) -> NDArray[np.int64]:
    """Independent integers, each x with a probability in proportion to exp(-x² / (2 deviation²)).

    Guaranteed: each value's probability is right to a relative 2**-46 up to six deviations, to 2**-44 up to ten, for
    every deviation from 0 (then all are zero) to 2**40; and none is beyond 74 (deviation + 1), so neither one nor a sum
    of thousands can overflow. From a deviation of 2**12, more than ten million at once are rounded normal
    numbers: such a value's log-probability is off by about (x² / deviation² - 1) / (24 deviation²), together 1e-5 over
    ten million of them.

    Not guaranteed: how long it takes, as candidates are drawn until enough of them are accepted.
    """
    if not 0 <= deviation <= LARGEST:
        raise ValueError(f"a deviation of {deviation} is not between 0 and 2**40")
    if deviation == 0:
        return np.zeros(count, dtype=np.int64)
    if count > MANY and deviation >= SMOOTH:
        return rounded_normal(noise, deviation, count)
    found = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        left = count - filled
        accepted = _accepted(noise, deviation, min(BLOCK, 2 * left + left // 8 + 16))[:left]
        found[filled : filled + len(accepted)] = accepted
        filled += len(accepted)
    return found


def rounded_normal(noise: SecureNoise, deviation: float, count: int) -> NDArray[np.int64]:
    """Normal numbers of this deviation, rounded: nearly the discrete Gaussian law where the deviation is large."""
    values = noise.normal(count)
    values *= deviation
    return np.rint(values, out=values).astype(np.int64)


def _accepted(noise: SecureNoise, deviation: float, count: int) -> NDArray[np.int64]:
    """Those of so many candidates that are accepted, about half (Canonne, Kamath and Steinke, 2020).

    A candidate is ±(part + t · turns) with t = floor(deviation) + 1, part uniform below t, turns geometric. Kept with
    exp(-part / t) it is a discrete Laplace number; that with exp(-(|x| - deviation² / t)² / (2 deviation²)) a discrete
    Gaussian one. Both chances are one here.
    """
    t = math.floor(deviation) + 1
    words = noise.words(count)
    quotient = words // np.uint64(t)
    part = (words - quotient * np.uint64(t)).astype(np.int64)  # many times faster than the remainder
    turns = np.floor(-np.log(noise.fine(count)))  # at most 73: the bound of what comes out
    size = part + t * turns.astype(np.int64)
    with np.errstate(over="ignore"):  # a tiny deviation: infinitely far is never kept
        off = size / deviation - deviation / t
        kept = noise.fine(count) <= np.exp(-part / t - off * off / 2)
    if spare := 2**64 % t:
        kept &= words < np.uint64(2**64 - spare)  # with the last few, small parts would be likelier
    negative = np.unpackbits(noise.words(count // 64 + 1).view(np.uint8), count=count).astype(bool)
    kept &= (size != 0) | ~negative  # zero has one sign
    return np.where(negative, -size, size)[kept]
