import json

import pytest

from bract.directives.personal import PersonalPhase
from bract.directives.prune import Prune
from bract.directives.select import Select
from bract.errors import BractError
from bract.wire.plan import Plan

GOOD = Plan(3, "abc", ("B",), ("B",), ("B",), ("head",), (0, 2))
FULL = Plan(4, "x", ("A",), ("A",), ("A", "B"), (), (0, 1), (Select(2, "magnitude"),), True, 1.5, 3)
PRUNING = Plan(4, "x", ("A", "B"), ("A", "B"), ("A", "B"), (), (0, 1), (Prune(0.9, 0.1, 2), PersonalPhase(3)))

SELECT = {"name": "select", "count": 1, "score": "product", "reuse": False}
PRUNE = {"name": "prune", "keep": 0.9, "penalty": 0.1, "least": 1}
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
        ({"do": [{**SELECT, "count": 0, "score": "product"}]}, "selection asks"),
        ({"do": [{**SELECT, "count": 3, "score": "product"}]}, "selection asks"),  # two slots are there
        ({"do": [{**SELECT, "count": 1, "score": "best"}]}, "selection asks"),
        ({"do": [{**SELECT, "count": 1, "score": "product"}], "trains": ["A", "B"]}, "selection asks"),
        ({"do": [{**SELECT, "more": 1}]}, "no plan"),
        ({"do": 5}, "no plan"),
        ({"do": [5]}, "no plan"),
        ({"do": [{"name": "select"}]}, "no plan"),
        ({"do": [{**SELECT, "count": "1"}]}, "no plan"),
        ({"do": [{**SELECT, "reuse": 1}]}, "no plan"),
        ({"do": [{"name": "teleport"}]}, "directive 'teleport', which this version does not know; it knows select"),
        ({"do": [SELECT, SELECT]}, "a directive twice"),
        ({"do": [SELECT, PRUNE], **BOTH}, "select and prune both decide on slots"),
        ({"do": [{"name": "personal", "count": 0}]}, "personal phase has no steps"),
        ({"round": float("inf")}, "no plan"),
        ({"do": [{**PRUNE, "keep": 0.9, "penalty": 0.1, "least": float("inf")}]}, "no plan"),
        ({"slots": [0.9, 1.2]}, "no plan"),
        ({"trains": ["B", "B"]}, "a part twice"),
        ({"do": [{**PRUNE, "keep": 0.9, "penalty": 0.1, "least": 1}]}, "pruning is out of bounds"),  # it trains B alone
        ({"do": [{**PRUNE, "keep": 0.0, "penalty": 0.1, "least": 1}], **BOTH}, "pruning is out of bounds"),
        ({"do": [{**PRUNE, "keep": 0.9, "penalty": float("nan"), "least": 1}], **BOTH}, "pruning is out of bounds"),
        ({"do": [{**PRUNE, "keep": 0.9, "penalty": 0.1, "least": 0}], **BOTH}, "pruning is out of bounds"),
        (
            {"do": [{**PRUNE, "keep": 0.9, "penalty": 0.1, "least": 1}], "slots": None, **BOTH},
            "pruning is out of bounds",
        ),
        ({"do": [{"name": "prune", "keep": 0.9}]}, "no plan"),
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
