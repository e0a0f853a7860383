"""The audit in short forms: what clients claim is not refuted, and each fault of the mechanism is."""

import math

import numpy as np
import pytest

from benchmarks import audit, audit_attack, audit_bound
from benchmarks.audit_clients import Audit
from tests.harness import tiny_model

SMALL = ("--clients", "2", "--canaries", "1500", "--ordinary", "100", "--epsilon", "2")
SUM = ("--sum", "--ordinary", "8", "--rounds", "2")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("audited")))


@pytest.fixture
def attacked(model, capfd):
    """The exit code of a short audit, and its verdict."""

    def go(*words, small=SMALL):
        verdicts, judge = [], audit.judge

        def kept(*arguments):
            verdicts.append(judge(*arguments))
            return verdicts[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(audit, "judge", kept)
            code = audit.main(["--model", model, *small, *words])
        return code, verdicts[0]

    return go


def test_what_clients_claim_is_not_refuted_and_much_of_it_is_proven(attacked):
    """A quarter of it; so few canaries could prove no more than 6.4."""
    code, verdict = attacked("--rounds", "3", "--epsilon", "6")
    assert code == 0
    assert 5.9 < verdict.claim <= 6.0
    assert 6.0 / 4 < verdict.found.epsilon <= verdict.claim < verdict.ceiling


@pytest.mark.parametrize(
    "words",
    [
        ("clip",),
        ("noise",),
        ("noise", "--times", "0"),
        ("rounds", "--rounds", "16"),
    ],
    ids=["clip", "noise-quartered", "noise-forgotten", "rounds"],
)
def test_a_fault_is_noticed(attacked, words):
    """By the same words as at the defaults; the claim stays what an honest client's would be."""
    code, verdict = attacked("--rounds", "2", "--broken", *words)
    assert 1.9 < verdict.claim <= 2.0
    assert verdict.found.epsilon > verdict.claim
    assert code == 1


def test_a_sum_is_as_private_as_its_members_claim(attacked):
    """All but one member's data are known, and colluders take their shares of noise out again."""
    code, verdict = attacked(small=SUM)
    assert code == 0
    assert 1.9 < verdict.claim <= 2.0
    assert 0.1 < verdict.found.epsilon <= verdict.claim < verdict.ceiling


@pytest.mark.parametrize("words", [("share",), ("noise",), ("clip",)], ids=["share", "noise-quartered", "clip"])
def test_a_fault_is_noticed_in_a_sum(attacked, words):
    code, verdict = attacked("--broken", *words, small=SUM)
    assert 1.9 < verdict.claim <= 2.0
    assert verdict.found.epsilon > verdict.claim
    assert code == 1


@pytest.mark.parametrize(
    "words",
    [("--broken", "share"), ("--sum", "--broken", "rounds"), ("--sum", "--machines"), ("--sum", "--person", "4")],
)
def test_what_an_audit_cannot_do_is_said(words, capsys):
    with pytest.raises(SystemExit):
        audit.main(words)
    assert "goes with" in capsys.readouterr().err


def test_faults_end_with_the_audit(attacked):
    attacked("--rounds", "1", "--broken", "noise", "--times", "0")
    code, _ = attacked("--rounds", "1")
    assert code == 0


def test_a_person_of_many_texts_is_not_what_the_unit_example_protects(attacked):
    code, verdict = attacked("--rounds", "1", "--canaries", "200", "--person", "16")
    assert 1.9 < verdict.claim <= 2.0
    assert verdict.found.epsilon > verdict.claim
    assert code == 1


def test_an_audit_that_could_not_refute_is_not_begun():
    with pytest.raises(SystemExit, match=r"prove at most 7\.\d\d, and 8 is claimed; take more"):
        audit.main(["--canaries", "1250"])


def test_the_defaults_can_prove_more_than_they_claim():
    usual = Audit()
    assert audit_bound.ceiling(usual.total, usual.delta) > usual.epsilon + 0.5


def test_little_noise_is_refuted_and_what_is_due_is_not():
    due, quarter = audit.power(Audit(clients=2, canaries=1500, epsilon=2.0), (1.0, 0.25), tries=8)
    assert due.endswith("refuted 0%")
    assert quarter.endswith("refuted 100%")


@pytest.mark.parametrize(
    ("right", "guesses", "canaries", "delta", "epsilon", "expected"),
    [
        (3, 3, 3, 0.0, 0.0, 1 / 8),
        (3, 3, 3, 0.0, math.log(3), 27 / 64),
        (2, 3, 9, 0.0, math.log(3), 54 / 64),
        (1, 1, 1, 0.1, 0.0, 0.5 + 2 * 1 * 0.1 * 0.5),  # i = 1: P[X = 0]
        (2, 2, 2, 0.05, 0.0, 0.25 + 2 * 2 * 0.05 * 0.5),  # i = 1: P[X = 1] = 1/2; i = 2: (1/4 + 1/2) / 2
        # Of 4 with 3/4: P[X = 4] = 81/256; i = 1: 108/256; i = 2: (54 + 108) / 256 / 2 is less.
        (4, 4, 10, 0.01, math.log(3), 81 / 256 + 2 * 10 * 0.01 * 108 / 256),
        # Of 4 with 1/2, 4 right among them: i = 1: 4/16; i = 2: (4 + 6) / 16 / 2 = 5/16 is more; i = 3: 14/48.
        (4, 4, 10, 0.01, 0.0, 1 / 16 + 2 * 10 * 0.01 * 5 / 16),
    ],
)
def test_the_chance_of_right_guesses_is_that_of_the_theorem(right, guesses, canaries, delta, epsilon, expected):
    assert audit_bound.chance(right, guesses, canaries, delta, epsilon) == pytest.approx(expected, rel=1e-12)


def test_a_bound_is_where_the_chance_is_the_risk():
    """All of a hundred right: e^eps / (1 + e^eps) to the hundredth is the risk."""
    one = 0.05 ** (1 / 100)
    assert audit_bound.proven(100, 100, 200, 0.0, 0.05) == pytest.approx(math.log(one / (1 - one)), abs=2e-4)
    assert audit_bound.proven(100, 100, 200, 1e-3, 0.05) < math.log(one / (1 - one)) - 0.1
    assert audit_bound.proven(50, 100, 200, 0.0, 0.05) == 0.0


def test_tries_share_the_risk():
    assert len(audit_bound.counts(40000)) * audit_bound.each_risk() == pytest.approx(0.05)
    assert sorted(set(audit_bound.counts(40000)), reverse=True) == list(audit_bound.counts(40000))


def test_a_bound_passes_the_true_epsilon_in_one_of_twenty_runs_at_most():
    """Of answers that are right with e^eps / (1 + e^eps), as surely as can be under pure epsilon-DP."""
    rng, epsilon, canaries = np.random.default_rng(0), 2.0, 1000
    found = []
    for _ in range(200):
        there = rng.random(canaries) < 0.5
        right = rng.random(canaries) < 1 / (1 + math.exp(-epsilon))
        sure = rng.random(canaries)  # which tells nothing of what is right: every share is as good as any
        found.append(audit_bound.best(np.where(there == right, sure, -sure), there, 0.0).epsilon)
    assert np.mean(np.array(found) > epsilon) <= 0.05
    assert np.median(found) > 0.7 * epsilon


def test_a_score_is_the_logarithm_of_the_likelihoods_ratio():
    """By hand: two draws at a rate of a half are 0, 1 or 2 with 1/4, 1/2, 1/4; noise of variance 1."""
    value = 1.3

    def density(mean):
        return math.exp(-((value - mean) ** 2) / 2)

    expected = math.log((density(0) + 2 * density(1) + density(2)) / 4 / density(0))
    found = audit_attack.ratio(np.array([value]), audit_attack.draws(2, 0.5), 1.0)
    assert found == pytest.approx([expected])
    assert audit_attack.draws(2, 1.0) == [(2, 0.0)]


@pytest.mark.long
def test_real_processes_carry_the_attack(attacked):
    code, verdict = attacked("--machines", "--rounds", "2")
    assert code == 0
    assert 0.3 < verdict.found.epsilon <= verdict.claim <= 2.0


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [(), ("clip",), ("noise",), ("noise", "--times", "0"), ("rounds",)],
    ids=["honest", "clip", "noise-quartered", "noise-forgotten", "rounds"],
)
def test_the_defaults_hold_what_the_documentation_says(words):
    """With MiniLM; minutes each. An honest mechanism proves a third of its claim, and every fault is refuted."""
    how = words[0] if words else ""
    options = audit.read_options(["--broken", *words] if words else [])
    case = audit.audit_of(options)
    times = audit.BROKEN.get(how, 1.0) if options.times is None else options.times
    verdict = audit.run(case, how, times)
    assert 7.9 < verdict.claim <= 8.0
    assert verdict.refuted == bool(words)
    assert verdict.found.epsilon > verdict.claim / 3


@pytest.mark.long
@pytest.mark.parametrize("how", ["", "share", "noise", "clip"])
def test_a_sum_at_the_defaults_holds_what_the_documentation_says(how):
    """With MiniLM. An honest sum proves a tenth of its claim, and every fault is refuted."""
    case = audit.audit_of(audit.read_options(["--sum", "--broken", how] if how else ["--sum"]))
    verdict = audit.run(case, how, audit.BROKEN.get(how, 1.0))
    assert 1.9 < verdict.claim <= 2.0
    assert verdict.refuted == bool(how)
    assert verdict.found.epsilon > verdict.claim / 10


@pytest.mark.long
@pytest.mark.parametrize("unit", ["example", "person"])
def test_a_person_of_many_texts_is_protected_by_the_unit_person_alone(unit):
    """The same attack on both: what one claims for a text does not hold for the person, what the other claims does."""
    case = audit.audit_of(audit.read_options(["--person", "32", "--unit", unit]))
    verdict = audit.run(case)
    assert 1.9 < verdict.claim <= 2.0
    assert verdict.refuted == (unit == "example")
