"""The lifetime limit: what may be spent of a body of data by runs whose settings are chosen after seeing earlier ones.

`accounting.epsilon` composes mechanisms that were all fixed beforehand. Over the life of its data a node meets servers
that see what one run released before they say the next run's noise, rate and steps. A limit that is checked with a
composed privacy loss does not hold then: of several next runs, each of which would fit, the server takes the one that
is worst for what it has seen. A Rényi filter holds: Rogers et al. 2016, https://arxiv.org/abs/1605.08294; Feldman and
Zrnic 2021, https://arxiv.org/abs/2008.11193; Lécuyer 2021, https://arxiv.org/abs/2103.01379.

**The rule.** The limit (ε, δ) alone fixes orders α_k > 1 and weights w_k > 0 with Σ w_k = 1. Let S_k be the sum, over
all steps so far and the ones asked for, of a step's Rényi divergence of order α_k. They may be taken if, for all L > ε,

    1 - exp(ε - L)  ≤  δ Σ_k w_k exp((α_k - 1) (L - S_k)).                                                    (1)

**What it guarantees.** All that is released under the rule, by steps chosen in any way from what earlier ones released,
stopped whenever anybody likes, is together (ε, δ)-differentially private.

**Proof.** Take two neighbouring data sets, in either order, and let P and Q be the distributions of all that is
released from the one and the other. After t steps let L_t be the privacy loss, log P/Q of what was released until then,
and S_k(t) the sums. What the t-th step is, and so its divergences ρ_k, is fixed by what was released before it. Given
that,

    E_P[exp((α_k - 1) loss of step t)] = E_Q[(P/Q)^α_k] = exp((α_k - 1) D_k) ≤ exp((α_k - 1) ρ_k),

as ρ_k bounds the step's divergence D_k in both directions: of the Poisson-sampled Gaussian's two, the one that is
computed is the larger (Mironov, Talwar and Zhang 2019, https://arxiv.org/abs/1908.10530). So
exp((α_k - 1) (L_t - S_k(t))) is a supermartingale under P that starts at 1 and is never negative, and so is
M_t = Σ_k w_k exp((α_k - 1) (L_t - S_k(t))). Then E_P[M] ≤ 1 at any time at which the interaction ends, also without a
bound on the number of steps (Fatou). Whenever it ends, (1) holds for the sums that were reached, as nothing was taken
without it; at L = L_t it says that max(0, 1 - exp(ε - L_t)) ≤ δ M_t (where L_t ≤ ε the left side is 0). Therefore

    sup over events E of P(E) - exp(ε) Q(E)  =  E_P[max(0, 1 - exp(ε - L))]  ≤  δ E_P[M]  ≤  δ,

which is (ε, δ)-differential privacy in this direction; the other is the same with P and Q changed over.  ∎

With one order, (1) is the usual conversion of a Rényi divergence to (ε, δ) (Canonne, Kamath and Steinke 2020,
https://arxiv.org/abs/2004.00010). "For at least one of K orders, each with δ / K, the budget is kept" implies (1) with
w_k = 1 / K, and is stricter than need be: in (1) all orders' terms count.

**Solved for ε.** (1) says ε ≥ L + log(1 - δ g(L)), for every L where δ g(L) < 1, with g(L) the sum on the right. That
is concave in L, and is largest where δ Σ_k w_k α_k exp((α_k - 1) (L - S_k)) = 1. It grows with every S_k: more uses
never fit where fewer do not.

Not guaranteed: anything where the limit itself was changed after looking at what was released.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bract.privacy.accounting import Use, merged, quiet
from bract.privacy.spending import Limit

# Orders as shares of (order - 1) of the one that is best for a Gaussian that spends the whole limit, and their weights.
# None is above it: sampling only makes low orders better. Runs of few steps at a low rate need the lowest.
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)
WEIGHTS = (0.1, 0.12, 0.18, 0.2, 0.4)

WHOLE_FROM = 12  # from here orders are whole numbers, whose divergence is a finite sum
LARGEST_ORDER = 4096
ROUNDED_UP = 1 + 1e-9  # what floating-point numbers lose on the way


def fits(uses: Iterable[Use], limit: Limit) -> bool:
    """Whether all of these uses together may be made of the data under this limit. None always fit."""
    return spent(uses, limit) <= limit.epsilon


def spent(uses: Iterable[Use], limit: Limit) -> float:
    """The smallest epsilon, at the limit's delta, at which these uses would fit with the orders of this limit.

    It may be compared with `limit.epsilon` alone. 0 for none; infinite where there is no noise, or no such limit.
    """
    every = list(uses)
    known = merged(every)
    if not all(use.sigma > 0 and use.steps > 0 for use in every if use.steps):
        return math.inf
    if not known:
        return 0.0
    if limit.epsilon <= 0 or not 0 < limit.delta < 1:
        return math.inf
    orders = orders_of(limit)
    sums = np.zeros(len(orders))
    for use in known:
        sums += use.steps * np.array(divergences(use.sigma, use.rate, orders))
    return _epsilon(np.array(orders), sums, limit.delta)


@lru_cache(maxsize=256)
def orders_of(limit: Limit) -> tuple[float, ...]:
    """The orders that a limit fixes, before anything is spent."""
    best = _best_for_a_gaussian(limit) - 1
    orders = (1 + share * best for share in SHARES)
    return tuple(min(LARGEST_ORDER, round(order)) if order > WHOLE_FROM else order for order in orders)


def _best_for_a_gaussian(limit: Limit) -> float:
    """The order that shows the least epsilon for a Gaussian mechanism of which it is the limit's own."""
    orders = 1 + np.geomspace(1e-4, 10 * LARGEST_ORDER, 4000)
    beyond = np.log1p(-1 / orders) - np.log(limit.delta * orders) / (orders - 1)  # of epsilon, beyond the divergence
    low, high = 1e-12, 1e6  # of a divergence of order 1
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if float(np.min(middle * orders + beyond)) > limit.epsilon else (middle, high)
    return float(orders[np.argmin(low * orders + beyond)])


@lru_cache(maxsize=4096)
def divergences(sigma: float, rate: float, orders: tuple[float, ...]) -> tuple[float, ...]:
    """One step's Rényi divergences: an upper bound in both directions; infinite where it is not known.

    At some orders between whole numbers dp-accounting finds none. A divergence grows with its order, so that of the
    next order at which one is found holds.
    """
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    step = GaussianDpEvent(sigma)
    every = sorted({*orders, *(math.ceil(order) for order in orders), *(math.ceil(order) + 1 for order in orders)})
    try:
        with quiet(), np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            accountant = RdpAccountant(list(every)).compose(PoissonSampledDpEvent(rate, step) if rate < 1 else step)
    except ArithmeticError:  # next to no noise
        return (math.inf,) * len(orders)
    found = np.where(np.isnan(accountant.rdp), math.inf, np.maximum(accountant.rdp, 0))
    least = dict(zip(every, np.minimum.accumulate(found[::-1])[::-1], strict=True))
    return tuple(float(least[order]) for order in orders)


def _epsilon(orders: NDArray[np.float64], sums: NDArray[np.float64], delta: float) -> float:
    known = np.isfinite(sums)  # an order without a divergence has no term
    if not known.any():
        return math.inf
    above = orders[known] - 1
    terms = np.log(np.array(WEIGHTS)[known]) + math.log(delta) - above * sums[known]

    def log_slope(loss: float) -> float:
        return float(np.logaddexp.reduce(terms + np.log(above + 1) + above * loss))

    loss = _root(log_slope)
    inside = float(np.logaddexp.reduce(terms + above * loss))
    return max(0.0, (loss + math.log(-math.expm1(inside))) * ROUNDED_UP)


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function is 0, to the last bits, from below."""
    low, high = -1.0, 1.0
    while rising(low) > 0:
        low *= 2
    while rising(high) <= 0:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if rising(middle) <= 0 else (low, middle)
    return low
