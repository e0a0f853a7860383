"""Settings of sums that nobody sees into: what goes together, and what is refused with its reason."""

import pytest

from bract.errors import BractError
from bract.settings.read import read
from bract.settings.schema import Settings

SECURE = {**Settings().flat(), "federation.sum": "secure"}
SHARED = {**SECURE, "privacy.noise": "shared", "train.steps": 1}
NONE = {**SECURE, "privacy.unit": "none"}
CLIENT = {**SHARED, "privacy.unit": "client", "privacy.delta": 1e-5, "federation.fraction": 0.5, "train.steps": 9}
RELEASED = {"strategy.name": "lora-a2", "strategy.score": "released"}


@pytest.mark.parametrize(
    "values",
    [
        SECURE,
        NONE,
        SHARED,
        CLIENT,
        {**CLIENT, "strategy.name": "fedsa"},
        {**NONE, "strategy.name": "fedsa"},
        *({**base, "strategy.name": name} for base in (NONE, SHARED) for name in ("ffa", "rolora", "fedit")),
        {**NONE, **RELEASED},
        {**SHARED, **RELEASED},
        {**SHARED, "federation.sum": "unmasked"},
        {**NONE, "privacy.noise": "shared"},  # says nothing where nothing is protected
    ],
)
def test_what_can_be_summed(values):
    assert read(values).federation.sum != "plain"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({**SHARED, "federation.sum": "plain"}, "set federation.sum = secure"),
        ({**NONE, "strategy.name": "hetlora"}, "weighs and prunes by what each client sent; with federation.sum"),
        ({**NONE, "strategy.name": "flexlora"}, "merges products"),
        ({**NONE, "strategy.name": "lora-a2"}, "strategy.score = 'product' tells each client's choice"),
        ({**NONE, **RELEASED, "lora.rank": 32, "federation.ranks": "uniform"}, "is told apart in a sum"),
        ({**NONE, **RELEASED, "strategy.divide": "selected"}, "divides by what each client chose"),
        ({**NONE, "strategy.weights": "norm"}, "nobody sees in a secure sum"),
        ({**NONE, "strategy.name": "fedsa", "strategy.local-b": "passed"}, "hands on one client's B"),
        ({**NONE, "federation.fraction": 0.5}, "all members of a secure sum take part"),
        ({**SECURE, "privacy.unit": "client"}, "cannot clip each client's update"),
        ({**SECURE, "privacy.share-metrics": True}, "which a secure sum is there to hide"),
        ({**SECURE, "wire.codec": "int8"}, "whole numbers are added"),
        ({**SECURE, "federation.sum": "unmasked", "data.source": "node"}, "is for simulations"),
        ({**SHARED, "train.steps": 5}, "takes one step a round"),
        ({**SHARED, "train.steps": 0}, "takes one step a round"),
        ({**SHARED, "strategy.name": "fedsa"}, "trained under no noise of others"),
        ({**SHARED, "lora.head": "local"}, "trained under no noise of others"),
        ({**SHARED, "privacy.clip-groups": "head"}, "one clip bounds"),
        ({**SHARED, "privacy.joins": 2}, "join all rounds"),
    ],
)
def test_what_cannot_be_summed_is_refused_in_one_line(values, reason):
    with pytest.raises(BractError) as raised:
        read(values)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
