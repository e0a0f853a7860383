import json

import pytest

from bract.errors import BractError
from bract.wire.plan import Plan, Prune, Select

GOOD = Plan(3, "abc", ("B",), ("B",), ("B",), ("head",), (0, 2))
FULL = Plan(4, "x", ("A",), ("A",), ("A", "B"), (), (0, 1), Select(2, "magnitude"), None, True, 1.5, 3)
PRUNING = Plan(4, "x", ("A", "B"), ("A", "B"), ("A", "B"), (), (0, 1), None, Prune(0.9, 0.1, 2))

BOTH = {"trains": ["A", "B"]}


def test_a_plan_survives_the_wire():
    assert Plan.from_record(GOOD.to_record(), slots=3) == GOOD
    assert Plan.from_record(FULL.to_record(), slots=3) == FULL
    assert Plan.from_record(PRUNING.to_record(), slots=3) == PRUNING


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sends": ["B", "head"]}, "stays with the client"),
        ({"trains": ["C"]}, "unknown parts"),
        ({"round": -1}, "out of bounds"),
        ({"round": 1 << 40}, "out of bounds"),
        ({"federation": "../../x"}, "out of bounds"),
        ({"federation": "é"}, "out of bounds"),
        ({"federation": ""}, "out of bounds"),
        ({"slots": [2, 0]}, "slots should rise"),
        ({"slots": [1, 1]}, "slots should rise"),
        ({"slots": [3]}, "slots should rise"),
        ({"slots": [-1]}, "slots should rise"),
        ({"trains": 5}, "no plan"),
        ({"trains": [["B"]]}, "no plan"),
        ({"other": []}, "no plan"),
        ({"round": None}, "no plan"),
        ({"select": {"count": 0, "score": "product"}}, "selection asks"),
        ({"select": {"count": 3, "score": "product"}}, "selection asks"),  # two slots are there
        ({"select": {"count": 1, "score": "best"}}, "selection asks"),
        ({"select": {"count": 1, "score": "product"}, "trains": ["A", "B"]}, "selection asks"),
        ({"select": {"count": 1, "score": "product", "more": 1}}, "no plan"),
        ({"select": 5}, "no plan"),
        ({"round": float("inf")}, "no plan"),
        ({"prune": {"keep": 0.9, "penalty": 0.1, "least": float("inf")}}, "no plan"),
        ({"slots": [0.9, 1.2]}, "no plan"),
        ({"trains": ["B", "B"]}, "a part twice"),
        ({"prune": {"keep": 0.9, "penalty": 0.1, "least": 1}}, "pruning is out of bounds"),  # it trains B alone
        ({"prune": {"keep": 0.0, "penalty": 0.1, "least": 1}, **BOTH}, "pruning is out of bounds"),
        ({"prune": {"keep": 0.9, "penalty": float("nan"), "least": 1}, **BOTH}, "pruning is out of bounds"),
        ({"prune": {"keep": 0.9, "penalty": 0.1, "least": 0}, **BOTH}, "pruning is out of bounds"),
        ({"prune": {"keep": 0.9, "penalty": 0.1, "least": 1}, "slots": None, **BOTH}, "pruning is out of bounds"),
        ({"prune": {"keep": 0.9}}, "no plan"),
        ({"changes": True, "trains": ["A"]}, "change of a part that it does not train"),
        ({"rank": "four"}, "no plan"),
    ],
)
def test_a_bad_plan_is_refused(change, words):
    value = {**json.loads(GOOD.to_record()["plan"]), **change}
    with pytest.raises(BractError, match=words):
        Plan.from_record({"plan": json.dumps(value)}, slots=3)


@pytest.mark.parametrize("record", [{}, {"plan": "{"}, {"plan": "[]"}, {"plan": "[" * 5000}, {"plan": 3}])
def test_what_is_no_plan_is_refused(record):
    with pytest.raises(BractError, match="no plan"):
        Plan.from_record(record, slots=3)
