"""Secure noise: its numbers are normal, independent, and of every block and length."""

import numpy as np
import pytest
from scipy import stats

from bract.privacy.noise import BLOCK, SecureNoise, _sine


def test_the_sine_is_right_to_the_last_bits():
    angles = np.linspace(-np.pi / 4, np.pi / 4, 100_001)
    found = np.empty_like(angles)
    _sine(angles, found, np.empty_like(angles))
    assert np.abs(found - np.sin(angles)).max() < 2.5e-16


@pytest.mark.parametrize("count", [0, 1, 2, 2 * BLOCK - 1, 2 * BLOCK + 3])
def test_any_number_of_them(count):
    found = SecureNoise().normal(count)
    assert found.shape == (count,)
    assert np.isfinite(found).all()


def sums(blocks):
    return SecureNoise().normal(2 * blocks * BLOCK).reshape(2, -1)


def singles(blocks):
    noise, rooms = SecureNoise(), np.empty((5, BLOCK))
    return np.concatenate([noise._pairs(rooms).copy() for _ in range(blocks)], axis=1)


@pytest.mark.parametrize("make", [sums, singles])
def test_they_are_normal_and_independent(make):
    one, two = make(30)  # of a pair
    for values in (one, two, one + two, one - two):
        assert stats.kstest(values / values.std(), "norm").pvalue > 1e-5
        assert abs(values.mean()) < 5 * values.std() / np.sqrt(len(values))
    for values in (one, two):
        assert abs(values.var() - 1) < 5 * np.sqrt(2 / len(values))
    limit = 5 / np.sqrt(len(one))
    for left, right in ((one, two), (np.abs(one), np.abs(two)), (one[:-BLOCK], one[BLOCK:]), (one[:-1], one[1:])):
        assert abs(np.corrcoef(left, right)[0, 1]) < limit
        assert abs(np.corrcoef(left**2, right**2)[0, 1]) < limit


def test_small_numbers_are_as_fine_as_large_ones():
    found = SecureNoise("fine").fine(10**6)
    assert 0 < found.min() < 1e-4
    assert 1 - 1e-4 < found.max() <= 1
    assert stats.kstest(found, "uniform").pvalue > 1e-7
    small = found[found < 2.0**-7] * 2.0**53
    assert (small != np.rint(small)).mean() > 0.9  # no multiples of what `uniform` gives


def test_two_processes_worth_of_keys_give_different_streams_and_a_seed_the_same():
    assert not np.array_equal(SecureNoise().normal(10), SecureNoise().normal(10))
    assert np.array_equal(SecureNoise("a").normal(10), SecureNoise("a").normal(10))


def test_a_choice_is_any_set_of_its_size_with_the_same_chance():
    noise, count = SecureNoise("choice"), 6000
    drawn = [tuple(noise.choice(5, 2).tolist()) for _ in range(count)]
    assert all(one < other for one, other in drawn)
    assert len(set(drawn)) == 10
    found = np.array([drawn.count(one) for one in set(drawn)])
    assert np.abs(found - count / 10).max() < 5 * np.sqrt(count * 0.09)
    assert noise.choice(3, 3).tolist() == noise.choice(3, 9).tolist() == [0, 1, 2]
    assert noise.choice(0, 2).tolist() == []
