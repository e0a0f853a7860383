"""What a client says that it has spent, as it is read, repeated and continued."""

import json
import math

import pytest

from bract.errors import BractError
from bract.privacy.accounting import Use, epsilon
from bract.privacy.mechanism import Mechanism
from bract.privacy.spending import PrivacySpending

MECHANISM = Mechanism(8.0, 1e-5, "prv", clip=1.0, sigma=1.0, rate=0.1, batch=8, steps=5, rounds=4)
SAID = {
    "epsilon": 2.5,
    "sigma": 1.0,
    "sample_rate": 0.1,
    "steps": 5,
    "rounds": 2,
    "uses": [[1.0, 0.1, 5], [1.0, 0.1, 5]],
    "limit": None,
}


def test_what_was_read_is_written_again():
    found = PrivacySpending.from_json(json.loads(json.dumps(SAID)))
    assert found.to_json() == SAID
    assert PrivacySpending.from_json(found.to_json()) == found


def test_a_mechanism_says_what_its_uses_cost():
    uses = [MECHANISM.use(), MECHANISM.use()]
    found = MECHANISM.spending(uses, 2, secret=True, limit=6.0)
    assert found.epsilon == epsilon([Use(1.0, 0.1, 10)], 1e-5)
    assert found.to_json() == {**SAID, "epsilon": found.epsilon, "limit": 6.0}


def test_noise_that_is_no_secret_leaves_epsilon_unknown():
    assert MECHANISM.spending([MECHANISM.use()], 1, secret=False).epsilon is None


def test_rounds_that_nobody_heard_of_count_as_spent():
    two = MECHANISM.spending([MECHANISM.use(), MECHANISM.use()], 2, secret=True)
    found = two.with_unheard(3, 1e-5, "prv")
    assert found.epsilon == MECHANISM.spent(5) > two.epsilon
    assert (found.rounds, found.unheard, len(found.uses)) == (5, 3, 5)
    assert found.to_json()["unheard"] == 3
    assert "unheard" not in two.to_json()
    none = two.with_unheard(0, 1e-5, "prv")
    assert (none.epsilon, none.rounds, none.unheard) == (two.epsilon, 2, 0)


def test_what_is_not_known_stays_unknown():
    found = PrivacySpending.from_json({**SAID, "epsilon": None}).with_unheard(2, 1e-5, "prv")
    assert (found.epsilon, found.rounds) == (None, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": -1.0}, "out of bounds"),
        ({"epsilon": math.nan}, "out of bounds"),
        ({"limit": math.inf}, "out of bounds"),
        ({"rounds": 10**12}, "out of bounds"),
        ({"uses": [[1.0, 0.1, -5]]}, "out of bounds"),
        ({"sigma": None}, "lacks a number"),
        ({"steps": "many"}, r"cannot be read \(ValueError\)"),
        ({"steps": 10**400}, r"cannot be read \(OverflowError\)"),
        ({"uses": 5}, r"cannot be read \(TypeError\)"),
        ({"uses": [[1.0, 0.1]]}, r"cannot be read \(ValueError\)"),
    ],
)
def test_malformed_spending_is_refused_in_one_line(changes, words):
    with pytest.raises(BractError, match=f"^the reply's privacy line .*{words}$"):
        PrivacySpending.from_json({**SAID, **changes})


@pytest.mark.parametrize("value", [None, [], "text", {}, {**SAID, "uses": None}])
def test_what_is_no_spending_is_refused(value):
    with pytest.raises(BractError, match="cannot be read"):
        PrivacySpending.from_json(value)
