"""Epsilon is right: against a lower bound of the true one and Opacus's, never below, and noise for a target."""

import math

import pytest
from dp_accounting.pld import privacy_loss_distribution
from opacus.accountants import GaussianAccountant, PRVAccountant

from bract.directives.select import Select
from bract.errors import BractError
from bract.privacy.accounting import Use, epsilon, noise_for
from bract.privacy.mechanism import find
from bract.settings.schema import PrivacySettings, TrainSettings
from bract.settings.steps import sampling_rate

TABLE = [
    (1.0, 0.08, 39),
    (0.5, 0.02, 100),
    (0.6, 0.1, 50),
    (2.0, 0.05, 300),
    (5.0, 0.5, 20),
    (10.0, 1.0, 20),
    (0.8, 0.01, 200),
    (3.0, 0.3, 1),
]


def least(uses, delta):
    """A lower bound of the true epsilon: dp-accounting's grid, fine and rounded downwards."""
    whole = None
    for use in uses:
        one = privacy_loss_distribution.from_gaussian_mechanism(
            use.sigma,
            sampling_prob=use.rate,
            pessimistic_estimate=False,
            value_discretization_interval=1e-4,
        ).self_compose(use.steps)
        whole = one if whole is None else whole.compose(one)
    return whole.get_epsilon_for_delta(delta)


@pytest.mark.parametrize("delta", [1e-5, 1e-6])
@pytest.mark.parametrize(("sigma", "rate", "steps"), TABLE)
def test_epsilon_is_within_a_percent_of_the_tight_value_and_never_below(sigma, rate, steps, delta):
    uses = [Use(sigma, rate, steps)]
    found, tight = epsilon(uses, delta), least(uses, delta)
    assert tight <= found <= 1.01 * tight
    opacus = PRVAccountant()
    opacus.history = [(sigma, rate, steps)]
    assert found == pytest.approx(opacus.get_epsilon(delta, eps_error=tight / 250), rel=0.01)
    assert found <= epsilon(uses, delta, "rdp")


def test_rounds_compose_as_one_long_run_does():
    whole = epsilon([Use(1.0, 0.05, 300)], 1e-5)
    assert epsilon([Use(1.0, 0.05, 30)] * 10, 1e-5) == whole
    assert epsilon([Use(1.0, 0.05, 100), Use(1.0, 0.05, 200)], 1e-5) == whole
    mixed = [Use(1.0, 0.05, 100), Use(2.0, 0.1, 50)]
    assert least(mixed, 1e-5) <= epsilon(mixed, 1e-5) <= 1.01 * least(mixed, 1e-5)
    assert epsilon(mixed, 1e-5) == epsilon(mixed[::-1], 1e-5)
    assert epsilon([], 1e-5) == 0
    assert epsilon([Use(0.0, 0.1, 1)], 1e-5) == math.inf


def test_gaussian_dp_would_be_too_low():
    """Why it is not offered: its limit lies below the tight value."""
    gdp = GaussianAccountant()
    gdp.history = [(1.0, 0.08, 39)]
    assert gdp.get_epsilon(1e-5) < 0.8 * least([Use(1.0, 0.08, 39)], 1e-5)


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
@pytest.mark.parametrize(("target", "rate", "steps"), [(8, 0.02, 100), (3, 0.1, 300), (1, 0.3, 50), (0.2, 0.05, 40)])
def test_the_noise_for_a_target_spends_nearly_all_of_it_and_no_more(target, rate, steps, accountant):
    sigma = noise_for(target, 1e-5, rate, steps, accountant)
    spent = epsilon([Use(sigma, rate, steps)], 1e-5, accountant)
    assert 0.95 * target < spent <= target
    assert least([Use(sigma, rate, steps)], 1e-5) <= target


def test_epsilon_is_never_negative():
    assert epsilon([Use(1000.0, 0.001, 1)], 0.01) >= 0
    assert epsilon([Use(1000.0, 0.001, 1)], 0.01, "rdp") >= 0


def test_a_target_past_all_use_is_an_error():
    with pytest.raises(BractError, match="no noise multiplier below 1000"):
        noise_for(0.01, 1e-5, 1.0, 100_000)


def test_the_sampling_rate_tells_the_number_of_examples_only_roughly():
    rates = {sampling_rate(8, n) for n in range(100, 1000)}
    assert len(rates) < 16
    for n in range(100, 1000, 7):
        assert 0.84 < sampling_rate(8, n) / (8 / n) < 1.19
    assert sampling_rate(8, 8) == 1.0


def test_the_mechanism_is_what_is_accounted_for():
    found = find(PrivacySettings(epsilon=3.0), TrainSettings(batch=16, steps=20), 400, rounds=10)
    assert (found.steps, found.rounds, found.clip) == (20, 10, 1.0)
    assert found.batch == 16
    assert 0.97 * 3 < found.spent(10) <= 3
    assert found.spent(1) < found.spent(5) < found.spent(10)  # a client that joins less spends less
    probing = find(PrivacySettings(epsilon=3.0), TrainSettings(batch=16, steps=20), 400, 10, [Select(4)])
    assert (probing.steps, probing.before) == (24, 4)
    assert probing.sigma > found.sigma
    reusing = find(PrivacySettings(epsilon=3.0), TrainSettings(batch=16, steps=20), 400, 10, [Select(4, reuse=True)])
    assert (reusing.steps, reusing.before) == (20, 4)
    epochs = find(PrivacySettings(epsilon=3.0), TrainSettings(batch=16, steps=0, epochs=2), 400, rounds=10)
    assert epochs.steps == 2 * math.ceil(1 / epochs.rate)  # near 2 * 400 / 16, and no more exact than the rate


@pytest.mark.parametrize(
    ("privacy", "train", "words"),
    [
        (
            PrivacySettings(delta=0.01),
            TrainSettings(batch=8),
            "privacy.delta = 0.01: .* examples; set it to 0.00083 or less",
        ),
        (PrivacySettings(), TrainSettings(batch=200), "train.batch = 200: a client has fewer examples"),
        (
            PrivacySettings(epsilon=0.01),
            TrainSettings(batch=100, steps=100_000),
            "privacy.epsilon = 0.01: .*raise privacy.epsilon, or lower rounds",
        ),
    ],
)
def test_impossible_targets_say_what_to_change(privacy, train, words):
    with pytest.raises(BractError, match=words):
        find(privacy, train, 120, rounds=5)
