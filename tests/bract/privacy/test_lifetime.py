"""The lifetime limit holds for runs that are chosen after seeing earlier ones; a composed epsilon does not."""

import math

import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from bract.privacy.accounting import Use, epsilon
from bract.privacy.lifetime import SHARES, WEIGHTS, divergences, fits, orders_of, spent
from bract.privacy.spending import Limit
from tests.bract.privacy.adversary import GRID, largest, losses_of, worst_delta

LIMIT = Limit(4.0, 1e-5)
SHAPES = [(1.0, 1), (0.1, 100), (0.02, 100), (0.005, 20), (0.001, 5)]  # of the last run: rate and steps


def filtered(limit):
    return lambda uses: fits(uses, limit)


def composed(limit):
    """The rule that does not hold: what was declared, composed as if it had been fixed beforehand."""
    return lambda uses: epsilon(uses, limit.delta) <= limit.epsilon


def menus(rule, limit, rate, steps):
    """A first run of half the limit, and several last ones, each of which spends the rest."""
    first = largest(rule(Limit(limit.epsilon / 2, limit.delta)), [], rate, steps)
    return [[first], [largest(rule(limit), [first], *shape) for shape in SHAPES]]


def test_a_composed_epsilon_is_passed_by_runs_chosen_after_seeing_earlier_ones():
    """Each of the five last runs is within the limit by itself; the worst for each outcome of the first is not."""
    taken = menus(composed, LIMIT, 1.0, 5)
    each = [worst_delta([taken[0], [last]], composed(LIMIT), LIMIT.epsilon) for last in taken[1]]
    assert max(each) <= 1.02 * LIMIT.delta
    assert worst_delta(taken, composed(LIMIT), LIMIT.epsilon, pessimistic=False) > 1.5 * LIMIT.delta


@pytest.mark.parametrize("limit", [LIMIT, Limit(1.0, 1e-5), Limit(8.0, 1e-5), Limit(2.0, 1e-3)])
@pytest.mark.parametrize(("rate", "steps"), [(1.0, 5), (0.08, 39)])
def test_the_filter_is_not_passed(limit, rate, steps):
    taken = menus(filtered, limit, rate, steps)
    found = worst_delta(taken, filtered(limit), limit.epsilon)
    assert 0.02 * limit.delta < found <= limit.delta


RUN = st.tuples(
    st.sampled_from([0.3, 0.6, 1.0]),  # the share of the limit up to which it spends
    st.sampled_from([1.0, 0.3, 0.05, 0.01]),
    st.sampled_from([1, 5, 50]),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([Limit(1.0, 1e-5), Limit(4.0, 1e-4), Limit(8.0, 1e-6)]),
    st.lists(st.lists(RUN, min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_no_adaptive_sequence_passes_the_limit(limit, wishes):
    """Up to three runs one after the other, each taken from up to three by what was seen."""
    taken, before = [], []
    for options in wishes:
        found = [largest(filtered(Limit(s * limit.epsilon, limit.delta)), before, *shape) for s, *shape in options]
        taken.append([use for use in found if use is not None])
        before = [*before, *taken[-1][:1]]
    assert worst_delta(taken, filtered(limit), limit.epsilon) <= limit.delta


def test_the_adversary_gains_nothing_where_it_has_no_choice():
    """The numerical check itself: one run after another, without a choice, is their composition."""
    first, second = Use(1.5, 0.1, 30), Use(2.0, 1.0, 3)
    bound = epsilon([first, second], 1e-5)
    found = worst_delta([[first], [second]], lambda uses: True, bound)
    assert found == pytest.approx(1e-5, rel=0.05)
    lower = worst_delta([[first], [second]], lambda uses: True, bound, pessimistic=False)
    assert 0.5e-5 < lower <= found
    low, probabilities, infinite = losses_of(second, "remove", True)
    mean = GRID * float(probabilities @ (low + np.arange(len(probabilities))))
    assert mean == pytest.approx(3 / (2 * 2.0**2), rel=0.01)  # of a Gaussian's loss
    assert infinite < 1e-14


def test_with_one_order_it_is_the_conversion_of_renyi_divergence(monkeypatch):
    """By hand, for a Gaussian: alpha / (2 sigma^2) a step."""
    from bract.privacy import lifetime

    monkeypatch.setattr(lifetime, "SHARES", (1.0,))
    monkeypatch.setattr(lifetime, "WEIGHTS", (1.0,))
    orders_of.cache_clear()
    try:
        (alpha,) = orders_of(LIMIT)
        wanted = 10 * alpha / (2 * 5.0**2) + math.log(1 - 1 / alpha) - math.log(1e-5 * alpha) / (alpha - 1)
        assert spent([Use(5.0, 1.0, 10)], LIMIT) == pytest.approx(wanted, rel=1e-8)
    finally:
        orders_of.cache_clear()


@pytest.mark.parametrize("limit", [LIMIT, Limit(1.0, 1e-5), Limit(0.1, 1e-6), Limit(50.0, 1e-4)])
def test_what_is_spent_is_where_the_rules_inequality_is_tight(limit):
    """Of lifetime.py's (1): it holds for every loss at the epsilon that was found, and at no smaller one."""
    uses = [Use(3.0, 1.0, 4), Use(1.2, 0.05, 60)]
    orders = np.array(orders_of(limit))
    sums = sum(RdpAccountant(list(orders)).compose(event_of(use), use.steps).rdp for use in uses)
    found = spent(uses, limit)
    losses = np.linspace(-5, found + 60, 200_001)[:, None]
    exponents = np.clip((orders - 1) * (losses - sums), -700, 700)
    right = limit.delta * (np.array(WEIGHTS) * np.exp(exponents)).sum(1)
    assert (right >= -np.expm1(found - losses[:, 0])).all()
    assert (right < -np.expm1(0.999 * found - losses[:, 0])).any()


def event_of(use):
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent

    return PoissonSampledDpEvent(use.rate, GaussianDpEvent(use.sigma))


@pytest.mark.parametrize(("sigma", "rate"), [(0.6, 0.02), (1.0, 0.3), (3.0, 0.9), (0.9, 1.0), (20.0, 0.001)])
def test_a_steps_divergences_bound_both_directions(sigma, rate):
    """Against integrals: what one record more adds, and what one less takes away."""
    points = np.linspace(-60 * sigma, 60 * sigma + 60, 2_000_001)
    wide = points[1] - points[0]
    without = -(points**2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    shifted = without + (2 * points - 1) / (2 * sigma**2)
    mixed = np.logaddexp(without + np.log1p(-rate), shifted + math.log(rate)) if rate < 1 else shifted
    orders = (1.2, 1.6, 2.5, 4.0, 6.1)
    for order, bound in zip(orders, divergences(sigma, rate, orders), strict=True):
        for p, q in ((mixed, without), (without, mixed)):
            logs = order * p + (1 - order) * q
            top = logs.max()
            found = (top + math.log(float(np.exp(logs - top).sum()) * wide)) / (order - 1)
            assert found <= bound * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("limit", [LIMIT, Limit(0.3, 1e-6), Limit(1000.0, 1e-2), Limit(0.001, 1e-9)])
def test_orders_are_the_limits_own(limit):
    orders = orders_of(limit)
    assert len(orders) == len(SHARES) == len(WEIGHTS)
    assert min(orders) > 1
    assert max(orders) <= 4096
    assert sum(WEIGHTS) == pytest.approx(1)


def test_more_never_fits_where_less_does_not():
    uses = [Use(1.0, 0.05, 100), Use(4.0, 1.0, 3), Use(0.8, 0.01, 10)]
    amounts = [spent(uses[:n], LIMIT) for n in range(4)]
    assert amounts[0] == 0
    assert amounts == sorted(amounts)
    assert spent([Use(1.0, 0.05, 101)], LIMIT) > spent([Use(1.0, 0.05, 100)], LIMIT)
    assert spent([Use(1.01, 0.05, 100)], LIMIT) < spent([Use(1.0, 0.05, 100)], LIMIT)
    assert spent([Use(1.0, 0.051, 100)], LIMIT) > spent([Use(1.0, 0.05, 100)], LIMIT)
    assert fits([Use(1.0, 0.05, 40)], LIMIT)
    assert not fits([*uses, Use(1.0, 1.0, 1)], LIMIT)


def test_uses_are_what_they_are_however_they_are_cut():
    whole = spent([Use(1.0, 0.05, 300)], LIMIT)
    assert spent([Use(1.0, 0.05, 1)] * 300, LIMIT) == whole
    assert spent(iter([Use(1.0, 0.05, 300)]), LIMIT) == whole
    mixed = [Use(1.0, 0.05, 10), Use(20.0, 1.0, 2)]
    assert spent(mixed, LIMIT) == spent(mixed[::-1], LIMIT)


def test_it_is_an_upper_bound_of_the_composed_epsilon_and_not_far_from_it():
    for rate, steps in [(0.1, 300), (1.0, 10), (0.3, 50)]:
        run = largest(filtered(LIMIT), [], rate, steps)
        assert 0.85 * LIMIT.epsilon < epsilon([run], LIMIT.delta) < LIMIT.epsilon


@pytest.mark.parametrize("limit", [Limit(0.0, 1e-5), Limit(-1.0, 1e-5), Limit(4.0, 0.0), Limit(4.0, 1.0)])
def test_a_limit_of_nothing_allows_nothing(limit):
    assert not fits([Use(1000.0, 0.001, 1)], limit)
    assert fits([], Limit(0.0, 1e-5))


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, 1e-200])
def test_without_noise_nothing_fits(sigma):
    for rate in (1.0, 0.01):
        assert spent([Use(sigma, rate, 1)], LIMIT) == math.inf
        assert not fits([Use(sigma, rate, 1)], Limit(1000.0, 1e-5))
    assert spent([Use(1.0, 0.1, 5), Use(1.0, 0.1, -5)], LIMIT) == math.inf  # nothing is given back


def test_asking_before_every_round_is_fast():
    import time

    entries = [Use(1.0 + 0.01 * (i % 30), 0.05, 5) for i in range(20_000)]
    fits(entries, LIMIT)
    start = time.perf_counter()
    fits([*entries, Use(1.0, 0.05, 5)], LIMIT)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("epsilon", [20.0, 50.0, 100.0, 1000.0])
def test_wide_limits_hold_modest_runs(epsilon, rate):
    """Their orders are near one, where dp-accounting finds no divergence at some rates."""
    modest = [Use(1.0, rate, 3)]
    assert fits(modest, Limit(epsilon, 1e-5))
