"""What protects one example protects a person with several of them less: how much less, against other counts."""

import math

import numpy as np
import pytest

from bract.privacy import group
from bract.privacy.accounting import Use, epsilon
from bract.privacy.group import SIZES, epsilon_of_group, epsilons_of_groups

DELTA = 1e-5
MIXED = [Use(1.0, 0.08, 39), Use(3.0, 0.3, 10)]


@pytest.mark.parametrize("uses", [MIXED[:1], MIXED[1:], MIXED, [Use(4.0, 1.0, 10)], [Use(0.5, 0.001, 50)]])
def test_a_person_with_one_example_has_the_examples_epsilon(uses):
    assert epsilon_of_group(uses, DELTA, 1) == pytest.approx(epsilon(uses, DELTA), rel=0.01)


def test_where_all_are_drawn_the_noise_is_so_many_times_smaller():
    """The Gaussian mechanism's delta in closed form (Balle and Wang 2018): with k of them, sigma / k."""
    from scipy.stats import norm

    for examples in (1, 2, 4, 8):
        uses = [Use(20.0, 1.0, 16)]
        found = epsilon_of_group(uses, DELTA, examples)
        shift = examples * math.sqrt(16) / 20.0

        def delta_at(value, shift=shift):
            return norm.cdf(shift / 2 - value / shift) - math.exp(value) * norm.cdf(-shift / 2 - value / shift)

        assert delta_at(found) <= DELTA < delta_at(0.98 * found)


@pytest.mark.parametrize(("sigma", "rate", "examples"), [(1.0, 0.1, 2), (2.0, 0.3, 4), (3.0, 0.05, 8)])
def test_one_step_is_as_integrated_by_hand(sigma, rate, examples):
    """delta(epsilon) = sum of max(0, p - exp(epsilon) q), with p and q the densities with and without the person."""
    x = np.linspace(-12 * sigma - examples, 12 * sigma + 2 * examples, 400_001)
    step = x[1] - x[0]

    def density(at):
        return np.exp(-((x - at) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    chance = [math.comb(examples, n) * rate**n * (1 - rate) ** (examples - n) for n in range(examples + 1)]
    there, not_there = sum(c * density(n) for n, c in enumerate(chance)), density(0)

    def delta_at(value):
        both = [(there, not_there), (not_there, there)]
        return max(float(np.maximum(0, p - math.exp(value) * q).sum()) * step for p, q in both)

    found = epsilon_of_group([Use(sigma, rate, 1)], DELTA, examples)
    assert delta_at(found) <= DELTA
    assert delta_at(0.97 * found) > DELTA


def test_composed_losses_that_were_drawn_are_not_above_it():
    """Monte Carlo over whole runs: delta is the mean of max(0, 1 - exp(epsilon - loss))."""
    rng = np.random.default_rng(0)
    use, examples, delta, runs = Use(1.5, 0.1, 20), 4, 1e-2, 200_000
    chance = np.array([math.comb(examples, n) * 0.1**n * 0.9 ** (examples - n) for n in range(examples + 1)])
    losses = np.zeros(runs)
    for _ in range(use.steps):
        x = rng.choice(examples + 1, size=runs, p=chance) + use.sigma * rng.standard_normal(runs)
        ratio = sum(c * np.exp((2 * n * x - n * n) / (2 * use.sigma**2)) for n, c in enumerate(chance))
        losses += np.log(ratio)
    found = epsilon_of_group([use], delta, examples)

    def delta_at(value):
        return float(np.maximum(0, -np.expm1(value - losses)).mean())

    assert delta_at(found) <= 1.1 * delta
    assert delta_at(0.93 * found) > delta


def test_it_grows_with_the_number_of_examples_and_lies_below_the_loose_bound():
    found = epsilons_of_groups(MIXED, DELTA)
    assert tuple(found) == SIZES
    one = epsilon(MIXED, DELTA)
    for size, value in found.items():
        assert value > one * size * 0.9
        assert value <= group._bound(tuple(MIXED), DELTA, size)
    assert list(found.values()) == sorted(found.values())
    assert epsilon_of_group([Use(1.0, 0.08, 78)], DELTA, 4) > epsilon_of_group([Use(1.0, 0.08, 39)], DELTA, 4)


def test_uses_cut_in_pieces_are_the_same():
    assert epsilon_of_group([Use(1.0, 0.1, 5)] * 4, DELTA, 4) == epsilon_of_group([Use(1.0, 0.1, 20)], DELTA, 4)


def test_where_nothing_can_be_composed_the_loose_bound_stands(monkeypatch):
    uses = [Use(7.0, 0.11, 3)]  # of no other test: results are kept
    tight = epsilon_of_group(uses, DELTA, 4)
    monkeypatch.setattr(group, "_composed", lambda *_: math.inf)
    group._epsilon.cache_clear()
    assert tight < epsilon_of_group(uses, DELTA, 4) < math.inf
    group._epsilon.cache_clear()


def test_no_noise_and_no_uses():
    assert epsilon_of_group([], DELTA, 4) == 0
    assert epsilon_of_group([Use(0.0, 0.1, 1)], DELTA, 4) == math.inf
