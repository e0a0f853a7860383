"""Integers of the secure sum: how far one vector moves them, how far they reach, and that words add up to them."""

import math

import numpy as np
import pytest

from bract.errors import BractError, PublicError
from bract.privacy.discrete_gaussian import discrete_gaussian
from bract.privacy.noise import SecureNoise
from bract.secure_sum.grid import EXAMPLES, Grid, from_words, to_words

VALUES = 36_864
CLIP = 0.7
BOTH = pytest.mark.parametrize("bits", [32, 64])
MEMBERS = pytest.mark.parametrize("members", [3, 10, 50])


def length(grid):
    return round(CLIP / grid.step)


def grid_of(bits, members, deviation):
    """The grid of this word: noise decides whether 32 bits are enough."""
    grid = Grid.for_clipped(CLIP, VALUES, members, deviation)
    assert grid.bits == bits
    return grid


def noise_for(bits):
    return 2.0**14 if bits == 32 else 2.0**28


def total(words):
    """The members' words, added modulo the word's size."""
    return from_words(np.sum(words, axis=0, dtype=words[0].dtype))


@pytest.mark.parametrize(("values", "power"), [(1, 8), (4, 9), (5, 10), (16_384, 15), (36_864, 16), (65_536, 16)])
def test_the_step_is_the_clip_by_a_power_of_two_beside_which_rounding_is_little(values, power):
    grid = Grid.for_clipped(CLIP, values, 10, 0.0)
    assert grid.step == CLIP / 2**power
    assert Grid.sensitivity(values) == 2**power + math.sqrt(values) <= 2**power * (1 + 1 / 256)


def test_the_demo_s_words_have_32_bits_and_hold_thousands_of_examples():
    grid = Grid.for_clipped(1.0, VALUES, 10, 0.0)
    assert (grid.bits, grid.step) == (32, 2.0**-16)
    assert grid.bound == 214_748_364 > 3200 * 2**16


def test_32_bits_serve_as_long_as_256_examples_fit():
    need = EXAMPLES * 2**16
    room = ((2**31 - 1) // 50 - need) // 16
    narrow, wide = (Grid.for_clipped(CLIP, VALUES, 50, float(room + more)) for more in (0, 1))
    assert (narrow.bits, wide.bits) == (32, 64)
    assert need <= narrow.bound < need + 16 < wide.bound
    assert narrow.bound == (2**31 - 1) // 50 - 16 * room


def test_what_has_no_room_in_64_bits_is_an_error():
    with pytest.raises(BractError, match="no room in 64 bits"):
        Grid.for_clipped(CLIP, VALUES, 10, 2.0**60)


@pytest.mark.parametrize(
    "given", [(0.0, 1, 3, 0.0), (math.nan, 1, 3, 0.0), (1.0, 0, 3, 0.0), (1.0, 1, 0, 0.0), (1.0, 1, 3, -1.0)]
)
def test_a_grid_of_nonsense_is_none(given):
    with pytest.raises(ValueError, match="no grid"):
        Grid.for_clipped(*given)


@pytest.mark.parametrize("given", [(0.0, 32, 5), (1.0, 32, 2**31), (1.0, 32, 0), (1.0, 64, 2**53 + 1)])
def test_a_bound_is_of_the_word_and_a_float(given):
    with pytest.raises(ValueError, match="no grid|no floating-point"):
        Grid(*given)


def test_what_is_rounded_comes_back_to_half_a_step():
    grid = Grid.for_clipped(CLIP, VALUES, 10, 100.0)
    values = np.random.default_rng(0).normal(size=10_000)
    kept = values.copy()
    assert np.abs(grid.decode(grid.encode(values)) - values).max() <= grid.step * 0.5000001
    assert np.array_equal(values, kept)
    whole = np.arange(-5, 6)
    assert np.array_equal(grid.encode(grid.decode(whole)), whole)


@BOTH
def test_what_is_beyond_is_clamped_and_no_number_is_nothing(bits):
    grid = grid_of(bits, 10, noise_for(bits))
    huge = np.array([1e300, -1e300, np.inf, -np.inf, np.nan, -np.nan, grid.step * grid.bound])
    assert grid.encode(huge).tolist() == [grid.bound, -grid.bound, grid.bound, -grid.bound, 0, 0, grid.bound]


def neighbours(rng, values, count):
    """Sums in units of the clip, and a vector of the clip's length or less: in every direction, or along few values."""
    sums = rng.normal(size=(count, values)) * 10 ** rng.uniform(-3, 1, size=(count, 1))
    one = rng.normal(size=(count, values)) * (rng.random((count, values)) < rng.choice([0.01, 0.2, 1], (count, 1)))
    one[np.arange(count), rng.integers(values, size=count)] += 1e-3
    return sums, one / np.linalg.norm(one, axis=1, keepdims=True) * rng.choice([0.3, 1, 1], (count, 1))


def test_one_vector_moves_the_integers_by_at_most_the_sensitivity():
    rng, values, worst = np.random.default_rng(1), 256, 0.0
    grid, most = Grid.for_clipped(CLIP, values, 10, 0.0), Grid.sensitivity(values)
    tight = Grid(grid.step, 32, length(grid) // 2)  # clamps often: that brings them no further apart
    for _ in range(10):
        sums, one = neighbours(rng, values, 1000)
        for by in (grid, tight):
            moved = by.encode((sums + one) * CLIP) - by.encode(sums * CLIP)
            found = np.linalg.norm(moved, axis=1).max()
            assert found <= most
            worst = max(worst, found)
    assert worst > 0.99 * length(grid)


def test_rounding_can_add_nearly_a_step_in_every_value():
    values, tiny = 1024, 1e-6
    grid = Grid.for_clipped(1.0, values, 10, 0.0)
    each = math.floor(length(grid) / math.sqrt(values)) - 1  # whole steps, and the least that crosses one more
    before = np.full(values, 0.5 - tiny) * grid.step
    after = before + (each + 2 * tiny) * grid.step
    moved = np.linalg.norm(grid.encode(after) - grid.encode(before))
    bare = np.linalg.norm(after - before) / grid.step
    assert bare + 0.999 * math.sqrt(values) < moved <= bare + math.sqrt(values)
    assert moved <= Grid.sensitivity(values)


@MEMBERS
@BOTH
def test_words_of_the_sum_are_the_sum_of_the_integers(bits, members):
    grid, rng = grid_of(bits, members, noise_for(bits)), np.random.default_rng(2)
    shares = [discrete_gaussian(SecureNoise(f"share {k}"), noise_for(bits), 1000) for k in range(members)]
    integers = [rng.integers(-grid.bound, grid.bound, 1000, endpoint=True) + share for share in shares]
    exact = np.sum(np.array(integers, dtype=object), axis=0)
    words = [to_words(z, bits) for z in integers]
    assert words[0].dtype == np.dtype(f"uint{bits}")
    assert total(words).tolist() == exact.tolist()
    assert total(words[::-1]).tolist() == exact.tolist()
    masks = [np.frombuffer(SecureNoise(f"mask {k}").words(1000), words[0].dtype)[:1000] for k in range(members)]
    masked = [word + mask for word, mask in zip(words, masks, strict=True)]
    assert total([*masked, *(0 - mask for mask in masks)]).tolist() == exact.tolist()


@MEMBERS
@BOTH
def test_all_members_at_the_bound_do_not_wrap_around_with_all_the_noise_that_is_allowed(bits, members):
    deviation = noise_for(bits)
    grid = grid_of(bits, members, deviation)
    most = grid.encode(np.array([math.inf, -math.inf])) + np.array([1, -1]) * int(16 * deviation)
    found = total([to_words(most, bits)] * members).tolist()
    assert found == [members * int(z) for z in most]
    assert 2 ** (bits - 1) - members * 2**10 <= found[0] < 2 ** (bits - 1)  # and no room is wasted


@pytest.mark.parametrize("members", [1, 2, 4, 8])
def test_a_power_of_two_members_do_not_wrap_around_either(members):
    for grid in (Grid.for_clipped(CLIP, VALUES, members, 0.0), Grid.for_clipped(CLIP, 2**40, members, 0.0)):
        most = grid.encode(np.array([math.inf]))
        assert total([to_words(most, grid.bits)] * members).tolist() == [members * int(most[0])]


@BOTH
def test_words_come_back_and_wrap_around(bits):
    edge = 2 ** (bits - 1)
    integers = np.array([0, 1, -1, edge - 1, -edge])
    words = to_words(integers, bits)
    assert words.tolist() == [0, 1, 2 * edge - 1, edge - 1, edge]
    assert from_words(words).tolist() == integers.tolist()
    assert from_words(words + words.dtype.type(1)).tolist() == [1, 2, 0, -edge, 1 - edge]
    assert from_words(words).dtype == np.int64


def test_weighted_changes_are_exact_to_a_fine_step_and_never_clamped():
    grid = Grid.for_weighted()
    values = np.random.default_rng(3).normal(size=1000) * 1000
    assert np.abs(grid.decode(grid.encode(values)) - values).max() <= 2.0**-31
    edge = np.nextafter(2.0**20, 0)
    members = 2**13 - 1
    found = to_words(grid.encode(np.array([edge, -edge])), 64) * np.uint64(members)
    assert from_words(found).tolist() == [members * z for z in grid.encode(np.array([edge, -edge])).tolist()]


@pytest.mark.parametrize("bad", [2.0**20, -(2.0**20), 1234567.875, math.inf, math.nan])
def test_a_weighted_change_that_is_beyond_is_refused_and_not_told(bad):
    with pytest.raises(BractError, match="weighted change") as told:
        Grid.for_weighted().encode(np.array([0.0, bad, 1.0]))
    assert not isinstance(told.value, PublicError)
    assert "1234567" not in str(told.value)


def test_words_of_16_bits_hold_a_sum_with_all_its_noise_or_are_refused():
    values, members, sigma, honest = 36_864, 10, 0.767, 6
    most = Grid.sensitivity(values, narrow=True)
    assert 1 < most / (most - math.sqrt(values)) < 1.125
    deviation = sigma * most * math.sqrt(members / honest)
    grid = Grid.for_narrow(1.0, values, members, deviation)
    assert (grid.bits, grid.step) == (16, 1 / (most - math.sqrt(values)))
    full = np.full(3, 2.0**15)
    total = sum(to_words(grid.encode(full), 16).astype(np.int64) for _ in range(members)) + int(6 * deviation)
    assert from_words(to_words(total, 16)).tolist() == total.tolist()
    assert from_words(to_words(-total, 16)).tolist() == (-total).tolist()
    with pytest.raises(BractError, match="no room in words of 16 bits"):
        Grid.for_narrow(1.0, values, members, 3 * deviation)


def test_a_narrow_grids_sensitivity_holds_for_random_neighbours():
    rng, values = np.random.default_rng(0), 256
    grid, most, worst = Grid.for_narrow(1.0, values, 3, 10.0), Grid.sensitivity(values, narrow=True), 0.0
    for _ in range(2000):
        base, one = rng.normal(size=values) * 0.05, rng.normal(size=values)
        moved = grid.encode(base + one / np.linalg.norm(one)) - grid.encode(base)
        worst = max(worst, float(np.linalg.norm(moved)))
    assert 0.99 / grid.step < worst <= most
