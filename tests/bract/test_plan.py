import json

import pytest

from bract.errors import BractError
from bract.plan import Plan

GOOD = Plan(3, "abc", ("B",), ("B",), ("B",), ("head",), (0, 2))


def test_a_plan_survives_the_wire():
    assert Plan.from_record(GOOD.to_record(), slots=3) == GOOD


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
