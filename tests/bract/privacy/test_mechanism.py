"""What a mechanism does is what it accounts for."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bract.errors import BractError
from bract.privacy.accounting import Use, epsilon
from bract.privacy.mechanism import Mechanism, find, find_for_clients
from bract.privacy.noise import SecureNoise
from bract.settings.schema import PrivacySettings, TrainSettings

MECHANISM = Mechanism(8.0, 1e-5, "prv", clip=0.5, sigma=3.0, rate=0.2, batch=4.0, steps=5, rounds=3)


def test_a_noisy_mean_by_hand():
    """(1, 2) and 3 * 0.5 times (2, -1), over 4."""
    found = MECHANISM.noisy_mean(np.array([1.0, 2.0]), np.array([2.0, -1.0]))
    assert found.tolist() == [1.0, 0.125]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arrays_and_tensors_get_the_same_bits(dtype):
    rng = np.random.default_rng(0)
    total, normal = torch.from_numpy(rng.normal(size=100)).to(dtype), torch.from_numpy(rng.normal(size=100))
    found = MECHANISM.noisy_mean(total, normal)
    assert found.dtype == dtype
    assert (found.numpy() == MECHANISM.noisy_mean(total.numpy(), normal.numpy())).all()


def test_noise_is_added_in_float64_and_cast_once():
    """1 + 2**-30 is 1 in float32, and minus 1 leaves 2**-30 only where nothing was cast before."""
    mechanism = replace(MECHANISM, sigma=1.0, clip=1.0, batch=1.0)
    found = mechanism.noisy_mean(np.array([-1.0], dtype=np.float32), np.array([1 + 2.0**-30]))
    assert (found.dtype, float(found[0])) == (np.float32, 2.0**-30)
    for dtype in (np.float32, np.float16):
        with pytest.raises(TypeError, match="float64 is needed"):
            mechanism.noisy_mean(np.zeros(3, dtype=np.float32), np.zeros(3, dtype=dtype))
    with pytest.raises(TypeError, match="float64 is needed"):
        mechanism.noisy_mean(torch.zeros(3), torch.zeros(3))


@pytest.mark.parametrize("length", [1e-30, 0.3, 0.5, 0.500001, 7.0, 1e30])
def test_nothing_is_longer_than_the_clip_after_it(length):
    scale = MECHANISM.scale(length)
    assert scale * length <= MECHANISM.clip
    assert scale == 1.0 or scale * length == pytest.approx(MECHANISM.clip, rel=2e-5)


def test_what_has_no_length_stays():
    assert MECHANISM.scale(0.0) == 1.0


def test_samples_are_drawn_at_the_rate_that_is_accounted():
    noise, sizes = SecureNoise(), []
    for _ in range(2000):
        drawn = MECHANISM.sample(noise, 50)
        assert len(set(drawn.tolist())) == len(drawn)
        sizes.append(len(drawn))
    assert abs(np.mean(sizes) - 10) < 5 * math.sqrt(8 / 2000)
    assert abs(np.var(sizes) - 8) < 1.5  # a fixed share would have none
    assert MECHANISM.use() == Use(3.0, 0.2, 5)
    assert replace(MECHANISM, rate=1.0).sample(noise, 7).tolist() == list(range(7))


def test_rounds_cost_what_their_uses_do():
    assert MECHANISM.use(2) == Use(3.0, 0.2, 10)
    assert MECHANISM.spent(2) == MECHANISM.epsilon_of([MECHANISM.use(), MECHANISM.use()])
    assert MECHANISM.spent(2) == epsilon([Use(3.0, 0.2, 10)], 1e-5, "prv")
    assert MECHANISM.spent(0) == 0.0
    assert replace(MECHANISM, sigma=0.0).spent(1) == math.inf


def test_delta_is_at_most_a_tenth_of_one_in_the_number_of_records():
    train = TrainSettings(batch=16, steps=2)
    assert find(PrivacySettings(delta=2.5e-4), train, 400, 1).delta == 2.5e-4
    with pytest.raises(BractError, match="privacy.delta = 0.00026: .* examples; set it to 0.00025 or less"):
        find(PrivacySettings(delta=2.6e-4), train, 400, 1)
    assert find_for_clients(PrivacySettings(delta=1e-3), 100, 0.5, 1).delta == 1e-3
    with pytest.raises(BractError, match="privacy.delta = 0.0011: .* clients; set it to 0.001 or less"):
        find_for_clients(PrivacySettings(delta=1.1e-3), 100, 0.5, 1)


def test_an_operator_may_allow_another_delta():
    train = TrainSettings(batch=16, steps=2)
    assert find(PrivacySettings(delta=1e-3), train, 400, 1, largest_delta=1e-3).delta == 1e-3
    with pytest.raises(BractError, match="privacy.delta = 1e-05: .* what the operator allows; set it to 1e-06 or less"):
        find(PrivacySettings(delta=1e-5), train, 400, 1, largest_delta=1e-6)
