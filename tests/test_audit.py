"""The audit in a short form: it cannot refute what the client claims, and it notices when the mechanism is broken."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import audit
from tests.harness import TEXTS, tiny_model

LABELS = list(TEXTS)
WORDS = sorted({word for texts in TEXTS.values() for text in texts for word in text.split()})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("audited"), more=[f"w{i}" for i in range(600)]))


@pytest.fixture
def audited(model, tmp_path):
    """A bound from one run, of a mechanism as it is or with a fault."""

    def go(how="", *, ordinary=80, **more):
        rng = np.random.default_rng(0)
        texts = sorted({" ".join(rng.choice(WORDS, rng.integers(6, 16))) for _ in range(200)})
        every = [(text, LABELS[rng.integers(len(LABELS))]) for text in texts]
        values = {"train.batch": 60, "train.steps": 8, "lora.rank": 8, "train.lr": 0.05, "rounds": 3, **more}
        values = audit.settings_of(model, LABELS, tmp_path, **{"privacy.epsilon": 1.0, **values})
        with audit.broken(how):
            return audit.one_run(values, every[:ordinary], every[ordinary : ordinary + 80], tmp_path / "one")

    return go


def test_what_the_client_claims_is_not_refuted(audited):
    found = audited()
    assert 0.9 < found.claim <= 1.0
    assert found.least <= found.claim


def test_noise_that_is_switched_off_is_noticed(audited):
    found = audited("noise")
    assert 0.9 < found.claim <= 1.0
    assert found.least > found.claim


def test_a_clip_that_is_switched_off_is_noticed(audited):
    """Gradients are then far longer than the clip that the noise was made for."""
    found = audited("clip", **{"privacy.clip": 1e-5})
    assert 0.9 < found.claim <= 1.0
    assert found.least > found.claim


def test_a_ledger_that_counts_one_round_is_noticed(audited):
    """Noise for one round, spent again in each: the field's fault. What is claimed stays what one round costs.

    The noise is secret, so runs differ: of 400 rounds the bound was 0.63 to 1.49 in twelve runs and once 0.45;
    of 800, 1.24 to 1.85 in seven.
    """
    more = {"privacy.joins": 1, "privacy.epsilon": 0.5, "train.steps": 1, "train.batch": 30}
    found = audited("rounds", ordinary=10, rounds=800, **more)
    assert 0.45 < found.claim <= 0.5
    assert found.least > found.claim


def test_two_worlds_are_told_apart_only_without_noise(model, tmp_path):
    every = [
        (" ".join(words), label) for words, label in zip(np.array(WORDS[:24]).reshape(12, 2), LABELS * 3, strict=True)
    ]
    values = audit.settings_of(
        model,
        LABELS,
        tmp_path,
        rounds=1,
        **{"train.batch": 6, "train.steps": 2, "privacy.epsilon": 1.0, "lora.rank": 8},
    )
    canary = (" ".join(WORDS[:12]), LABELS[0])
    kept = audit.two_worlds(values, every, canary, 16, tmp_path / "kept")
    assert kept.least <= kept.claim
    with audit.broken("noise"):
        lost = audit.two_worlds(
            {**values, "train.steps": 6, "privacy.epsilon": 0.3}, every, canary, 40, tmp_path / "lost"
        )
    assert lost.least > lost.claim


def test_the_bound_of_guesses_is_the_one_of_a_coin_when_delta_is_zero():
    """95 of 100 right: the largest epsilon at which so many have a chance below the risk."""
    bound = audit.bound_of_guesses(95, 100, 200, 0.0, 0.05)
    chance = 1 / (1 + np.exp(-bound))
    assert binom.sf(94, 100, chance) == pytest.approx(0.05, rel=1e-3)
    assert audit.bound_of_guesses(95, 100, 200, 1e-3, 0.05) < bound
    assert audit.bound_of_guesses(50, 100, 200, 0.0, 0.05) == 0.0
    assert audit.bound_of_guesses(100, 100, 200, 1e-5, 0.05) < 3.5  # nobody can show more with a hundred guesses


def test_bounds_hold_for_randomised_response():
    """Answers that are right with e^eps / (1 + e^eps): the bounds pass epsilon in one of twenty experiments at most."""
    rng, epsilon = np.random.default_rng(0), 2.0
    chance = np.exp(epsilon) / (1 + np.exp(epsilon))
    guessed = [audit.bound_of_guesses(int(rng.binomial(200, chance)), 200, 200, 0.0, 0.05) for _ in range(400)]
    assert np.mean(np.array(guessed) > epsilon) <= 0.05 + 0.03
    assert np.median(guessed) > 0.7 * epsilon
    told = []
    for _ in range(400):
        in_, out = (rng.random(500) < p for p in (chance, 1 - chance))
        told.append(audit.bound_of_errors(in_.astype(float), out.astype(float), 0.5, 0.0, above=True))
    assert np.mean(np.array(told) > epsilon) <= 0.05 + 0.03
    assert np.median(told) > 0.7 * epsilon
