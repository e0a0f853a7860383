"""Sums over held-out examples under noise."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bract.privacy.mechanism import find_for_measuring
from bract.privacy.noise import SecureNoise
from bract.settings.schema import PrivacySettings
from bract.tasks.classification import CLASSIFICATION, LONGEST_LOSS
from bract.tasks.task import summed
from client_app.privacy.measuring import noisy_sums
from tests.client_app.nets import net_of

MECHANISM = find_for_measuring(PrivacySettings(epsilon=8.0), 100, 5, 3)
SILENT = replace(MECHANISM, sigma=0.0)


def sums(net, held, mechanism=SILENT, *, persons=False, seed="x"):
    return noisy_sums(CLASSIFICATION, net, held, mechanism, SecureNoise(seed), persons=persons)


def loud(net):
    """The same model with a head that has a loss far beyond the clip for many texts."""
    size = net.layout.size("head")
    net.set("head", 1e6 * np.sin(np.arange(size)).astype(np.float32), net.layout)
    return net


def test_without_noise_they_are_the_exact_ones_but_for_losses_beyond_the_clip(folders, shard):
    net = net_of(folders["bert"])
    exact = CLASSIFICATION.measure(net, shard)
    assert exact["loss"].min() < LONGEST_LOSS < exact["loss"].max()
    clipped = {**exact, "loss": np.minimum(exact["loss"], LONGEST_LOSS)}
    assert sums(net, shard) == pytest.approx(summed(clipped), rel=1e-6)


def test_one_example_more_moves_them_by_at_most_the_clip(folders, shard):
    """Whatever the model: its losses here are far beyond what an example may count with."""
    net = loud(net_of(folders["bert"]))
    assert CLASSIFICATION.measure(net, shard)["loss"].max() > 1e3
    clips = np.array([1.0, 1.0, LONGEST_LOSS])
    for left in range(len(shard)):
        rest = shard.only(np.delete(np.arange(len(shard)), left))
        moved = (np.array([*sums(net, shard).values()]) - np.array([*sums(net, rest).values()])) / clips
        assert np.linalg.norm(moved) <= MECHANISM.clip
        assert (moved >= -1e-9).all()


def test_a_loss_that_is_no_number_counts_as_the_worst(folders, shard):
    net = net_of(folders["bert"])
    net.set("head", np.full(net.layout.size("head"), np.nan, dtype=np.float32), net.layout)
    assert sums(net, shard)["loss"] == pytest.approx(LONGEST_LOSS * len(shard))


def test_what_is_found_of_an_example_does_not_depend_on_the_others(folders, shard):
    """To the last bit: else a server could send a model that makes the last bits count."""
    net = net_of(folders["bert"])
    alone = sum(sums(net, shard.only(np.array([i])))["loss"] for i in range(len(shard)))
    assert sums(net, shard)["loss"] == pytest.approx(alone, rel=1e-14)


def test_a_person_counts_once(folders, shard):
    net, whose = net_of(folders["bert"]), np.array([0] * 9 + [1] * 4 + [2] * 5)
    held = replace(shard, persons=whose)
    found, exact = sums(net, held, persons=True), CLASSIFICATION.measure(net, shard)
    assert found["examples"] == pytest.approx(3)
    assert found["correct"] == pytest.approx(sum(exact["correct"][whose == p].mean() for p in range(3)))


def test_noise_has_the_deviation_that_is_accounted(folders, shard):
    net, few = net_of(folders["bert"]), shard.only(np.arange(3))
    exact = sums(net, few)
    drawn = np.array([[*sums(net, few, MECHANISM, seed=str(i)).values()] for i in range(300)])
    off = (drawn - np.array([*exact.values()])) / np.array([1.0, 1.0, LONGEST_LOSS])
    wanted = MECHANISM.sigma * math.sqrt(3)
    assert np.abs(off.std(0) / wanted - 1).max() < 0.2
    assert np.abs(off.mean(0)).max() < 5 * wanted / math.sqrt(300)


def test_the_noise_spends_the_target_over_the_run():
    assert 0.98 * 8.0 < MECHANISM.spent(6) <= 8.0
    assert (MECHANISM.rate, MECHANISM.steps, MECHANISM.rounds) == (1.0, 1, 6)
