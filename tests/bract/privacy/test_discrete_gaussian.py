"""The discrete Gaussian: its draws have the exact law at every deviation, one and in sum, and are independent."""

import numpy as np
import pytest
from scipy import stats

from bract.privacy.discrete_gaussian import LARGEST, MANY, SMOOTH, discrete_gaussian, rounded_normal
from bract.privacy.noise import BLOCK, SecureNoise

DRAWS = 10**6
UNLIKELY = 1e-7  # a right sampler falls below it once in ten million tries; the seeds are fixed
ERRORS = 5.5  # standard ones: the same, nearly
EACH = 10.0  # expected of a cell


def law(deviation):
    """All integers that matter and their probabilities, by their definition."""
    reach = int(10 * deviation) + 10
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-((values / deviation) ** 2) / 2)
    return values, weights / weights.sum()


def fit(found, deviation):
    """The p-value of these draws: integer by integer, or 400 cells of as many neighbours."""
    values, chances = law(deviation)
    assert np.abs(found).max() <= values[-1]
    width = max(1, int(deviation / 40))
    cells = (values - values[0]) // width
    expected = np.bincount(cells, chances) * len(found)
    seen = np.bincount((found - values[0]) // width, minlength=len(expected))
    # The tails' cells are one each: those before the first and after the last in which enough are expected.
    first, last = np.flatnonzero(expected >= EACH)[[0, -1]]
    starts = np.arange(first, last + 1)
    starts[0] = 0
    expected, seen = np.add.reduceat(expected, starts), np.add.reduceat(seen, starts)
    return stats.chisquare(seen, expected * (seen.sum() / expected.sum())).pvalue


def moments(deviation):
    values, chances = law(deviation)
    return [float((values.astype(float) ** power) @ chances) for power in (2, 4)]


@pytest.fixture(scope="module", params=[0.3, 1.0, 3.0, 3.7, SMOOTH, 2.0**16])
def drawn(request):
    return request.param, discrete_gaussian(SecureNoise("draws"), request.param, DRAWS)


def test_the_draws_have_the_exact_law(drawn):
    deviation, found = drawn
    assert found.dtype == np.int64
    assert fit(found, deviation) > UNLIKELY


def test_mean_variance_and_kurtosis(drawn):
    deviation, found = drawn
    second, fourth = moments(deviation)
    scaled = found / np.sqrt(second)
    kurtosis = fourth / second**2
    assert abs(scaled.mean()) < ERRORS / np.sqrt(DRAWS)
    assert abs((scaled**2).mean() - 1) < ERRORS * np.sqrt((kurtosis - 1) / DRAWS)
    for power, expected in ((4, kurtosis), (3, 0)):
        of_each = scaled**power
        assert abs(of_each.mean() - expected) < ERRORS * of_each.std() / np.sqrt(DRAWS)


@pytest.mark.parametrize("modulus", [2, 16, 251])
def test_the_last_digits_of_large_ones_are_uniform(modulus):
    found = discrete_gaussian(SecureNoise("digits"), 2.0**16, DRAWS)
    assert stats.chisquare(np.bincount(found % modulus, minlength=modulus)).pvalue > UNLIKELY


def test_the_test_of_the_law_tells_it_from_its_neighbours():
    found = discrete_gaussian(SecureNoise("power"), 3.0, DRAWS)
    assert fit(found, 3.02) < UNLIKELY
    assert fit(np.where(found == 0, 1, found), 3.0) < UNLIKELY
    assert fit(rounded_normal(SecureNoise("power"), 2.0, DRAWS), 2.0) < UNLIKELY


@pytest.mark.parametrize("deviation", [3.0, SMOOTH])
def test_the_sum_of_six_members_shares_has_the_law_of_one_of_six_times_the_variance(deviation):
    shares = [discrete_gaussian(SecureNoise(f"member {k}"), deviation, DRAWS // 4) for k in range(6)]
    assert fit(np.sum(shares, axis=0), deviation * np.sqrt(6)) > UNLIKELY


@pytest.mark.parametrize("other", [SecureNoise("two"), SecureNoise()])
def test_two_keys_share_no_stream(other):
    one = SecureNoise("one")
    assert not set(one.words(10**5).tolist()) & set(other.words(10**5).tolist())
    left, right = (discrete_gaussian(noise, SMOOTH, 10**5).astype(float) for noise in (one, other))
    for a, b in ((left, right), (left**2, right**2), (left[:-1], left[1:]), (left[:-BLOCK], left[BLOCK:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < ERRORS / np.sqrt(len(a))


def test_a_stream_goes_on_and_a_seed_gives_the_same():
    noise = SecureNoise("a")
    first = discrete_gaussian(noise, SMOOTH, 1000)
    assert np.array_equal(first, discrete_gaussian(SecureNoise("a"), SMOOTH, 1000))
    assert not np.array_equal(first, discrete_gaussian(noise, SMOOTH, 1000))


@pytest.mark.parametrize("count", [0, 1, 2, BLOCK - 1, BLOCK, 3 * BLOCK + 1])
def test_any_number_of_them(count):
    found = discrete_gaussian(SecureNoise(), 100.0, count)
    assert found.shape == (count,)
    assert not count > 2 or len(np.unique(found)) > 1


def test_without_a_deviation_all_are_zero():
    assert discrete_gaussian(SecureNoise(), 0.0, 1000).tolist() == [0] * 1000
    assert not discrete_gaussian(SecureNoise(), 1e-300, 1000).any()


def test_the_largest_deviation_keeps_its_law_and_its_bound():
    found = discrete_gaussian(SecureNoise("largest"), LARGEST, 10**5)
    assert stats.kstest(found / LARGEST, "norm").pvalue > UNLIKELY
    assert np.abs(found).max() < 6.5 * LARGEST
    assert stats.chisquare(np.bincount(found % 16)).pvalue > UNLIKELY


@pytest.mark.parametrize("deviation", [-1.0, float("nan"), float("inf"), 2 * LARGEST])
def test_another_deviation_is_none(deviation):
    with pytest.raises(ValueError, match="not between 0 and"):
        discrete_gaussian(SecureNoise(), deviation, 1)


def test_very_many_are_rounded_normal_numbers_which_have_nearly_the_law():
    assert fit(rounded_normal(SecureNoise("rounded"), SMOOTH, DRAWS), SMOOTH) > UNLIKELY
    found = discrete_gaussian(SecureNoise("many"), SMOOTH, MANY + 1)
    assert np.array_equal(found, rounded_normal(SecureNoise("many"), SMOOTH, MANY + 1))
