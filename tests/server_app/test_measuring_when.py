"""When clients measure: after every round, after some, or once at the end; alone, or as a part of a sum."""

import json

import pytest

PRIVATE = {"privacy.unit": "example", "train.batch": 8, "privacy.delta": 1e-4}
SHARED = {**PRIVATE, "federation.sum": "secure", "privacy.noise": "shared", "train.steps": 1, "train.rate": 0.25}


@pytest.mark.parametrize("sum_", ["plain", "secure"])
@pytest.mark.parametrize(
    ("when", "rounds", "measured"),
    [("auto", 3, [0, 1, 2, 3]), ("every:2", 5, [0, 2, 4, 5]), ("last", 3, [3]), ("every:9", 2, [0, 2])],
)
def test_rounds_are_measured_when_it_was_asked_for(simulate, sum_, when, rounds, measured):
    folder, grid = simulate({"federation.sum": sum_, "federation.measure": when, "rounds": rounds})
    rows = folder.rounds()
    assert [row["round"] for row in rows] == list(range(rounds + 1))
    assert [row["round"] for row in rows if row["accuracy"] is not None] == measured
    assert all((row["loss"] is None) == (row["accuracy"] is None) for row in rows)
    assert json.loads((folder.path / "summary.json").read_text())["accuracy"] == rows[-1]["accuracy"]
    assert sum(kind == "evaluate" for kind, *_ in grid.log) == (3 * len(measured) if sum_ == "plain" else 0)
    assert sum(kind == "train" for kind, *_ in grid.log) == 3 * (rounds + (sum_ == "secure"))


def test_figures_of_a_sum_are_those_of_all_clients_together(simulate, tmp_path):
    """They come with the next round's words, and are of the same model as those that clients would tell one by one."""
    values = {"train.engine": "opacus", "rounds": 2}
    plain, _ = simulate({**values, "run.folder": str(tmp_path / "plain")})
    summed, _ = simulate({**values, "federation.sum": "secure", "run.folder": str(tmp_path / "sum")})
    for one, two in zip(plain.rounds(), summed.rounds(), strict=True):
        assert one["accuracy"] == pytest.approx(two["accuracy"], abs=1e-9)
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
        assert two["accuracy_mean"] is two["accuracy_worst"] is None  # nobody knows a single client's


def test_noisy_figures_of_a_sum_cost_their_own_examples_and_say_their_margin(simulate):
    folder, _ = simulate({**SHARED, "privacy.measuring": "noisy", "rounds": 2})
    found = json.loads((folder.path / "privacy.json").read_text())
    assert [one["rounds"] for one in found["measuring"]] == [3, 3, 3]
    assert all(one["honest"] == 2 for one in (*found["measuring"], *found["clients"]))
    assert all(row["accuracy_margin"] > 0 for row in folder.rounds() if row["accuracy"] is not None)
    assert not any("leave without noise" in line for line in found["not_covered"])


def test_nothing_is_told_where_nothing_may_be(simulate):
    folder, _ = simulate({**SHARED, "privacy.measuring": "nothing", "rounds": 2})
    assert all(row["accuracy"] is None for row in folder.rounds())
    assert json.loads((folder.path / "privacy.json").read_text())["measuring"] == []
