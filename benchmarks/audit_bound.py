"""From an attacker's guesses to a lower bound on epsilon, after one run.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023.
Each of m canaries is in the data by the toss of a fair coin of its own. From what was released the attacker says of
some of them whether they are in or out, and of the rest nothing. If what released it is (epsilon, delta)-DP, the
number of right guesses among r is bounded (their theorem 5.2):

    P[right >= v] <= tail + 2 m delta worst,    tail = P[X >= v],  worst = max over i >= 1 of P[v > X >= v - i] / i,

where X is binomial of r draws with e^epsilon / (1 + e^epsilon). An epsilon at which that is below the risk is refuted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

RISK = 0.05  # that a bound is above the true epsilon, over all that is tried on one run together

# Of the canaries, the surest on which the attacker speaks. Each is a test of its own with its part of the risk, so that
# the best of them may be taken.
SHARES = (1.0, 0.95, 0.9, 0.8, 0.65, 0.5, 0.35, 0.25, 0.125, 0.0625, 0.03125)

SPAN = 512  # of numbers of right guesses, beyond which the worst seldom lies

LARGEST = 30.0  # epsilon; no number of guesses that fits a machine proves more


@dataclass(frozen=True)
class Guessed:
    """So many right among so many guesses, and the epsilon that they prove."""

    right: int
    guesses: int
    epsilon: float


def chance(right: int, guesses: int, canaries: int, delta: float, epsilon: float) -> float:
    """At most how likely so many right guesses are under (epsilon, delta)-DP."""
    one = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, one))
    if not delta:
        return min(1.0, tail)
    worst = per_step(right, guesses, one, min(right, SPAN))
    if right > SPAN and (1 - tail) / SPAN > worst:  # further down it could be more
        worst = per_step(right, guesses, one, right)
    return min(1.0, tail + 2 * canaries * delta * worst)


def per_step(right: int, guesses: int, one: float, span: int) -> float:
    """The largest of P[right > X >= right - i] / i, for i up to `span`."""
    i = np.arange(1, span + 1)
    below = binom.cdf(right - 1, guesses, one) - binom.cdf(right - 1 - i, guesses, one)
    return float((below / i).max(initial=0.0))


def proven(right: int, guesses: int, canaries: int, delta: float, risk: float) -> float:
    """The largest epsilon that so many right guesses refute at this risk; 0 if they refute none."""
    low, high = 0.0, LARGEST
    if chance(right, guesses, canaries, delta, low) >= risk:
        return 0.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        refuted = chance(right, guesses, canaries, delta, middle) < risk
        low, high = (middle, high) if refuted else (low, middle)
    return low


def best(scores: NDArray[np.float64], there: NDArray[np.bool_], delta: float) -> Guessed:
    """The best bound from scores, each the logarithm of how much likelier "in" is than "out", over all shares."""
    order = np.argsort(-np.abs(scores), kind="stable")
    right = np.cumsum((scores > 0)[order] == there[order])
    found = [
        Guessed(int(right[count - 1]), count, proven(int(right[count - 1]), count, len(scores), delta, each_risk()))
        for count in counts(len(scores))
    ]
    return max(found, key=lambda guessed: guessed.epsilon)


def ceiling(canaries: int, delta: float) -> float:
    """What would be proven were every guess right: no attack on so many canaries proves more."""
    return max(proven(count, count, canaries, delta, each_risk()) for count in counts(canaries))


def counts(canaries: int) -> Sequence[int]:
    """Numbers of guesses that are tried."""
    return [max(1, round(share * canaries)) for share in SHARES]


def each_risk() -> float:
    """The part of the risk that each try has: by the union bound they have it all together."""
    return RISK / len(SHARES)
