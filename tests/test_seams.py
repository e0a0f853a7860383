"""What the seams promise: a method, a directive and a task are each one file, and nothing else is touched."""

import json

import numpy as np
import pytest

import bract
from bract.directives import registry
from bract.errors import BractError
from bract.results.run_folder import read_rows
from bract.settings import methods, tasks
from bract.settings.read import read
from tests.flower.messages import identify
from tests.harness import TEXTS
from tests.seams.decay import Decay
from tests.seams.regression import REGRESSION
from tests.strategies.exchange import federation, merged, reply, sent


@pytest.fixture
def toys(monkeypatch):
    """Their lines in the lists."""
    mine = (
        methods.Method("median", "tests.seams.median:Median", no_sum="takes a median"),
        methods.Method("decayed", "tests.seams.decayed:Decayed"),
    )
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, *mine))
    monkeypatch.setitem(registry.DIRECTIVES, "decay", Decay)
    monkeypatch.setitem(tasks.TASKS, "regress", "tests.seams.regression:REGRESSION")


def test_a_method_with_a_rule_on_the_server_is_one_file(toys, simulate):
    folder, _ = simulate({"strategy.name": "median", "rounds": 2}, clients=3)
    rows = folder.rounds()
    assert [row["clients"] for row in rows] == [0, 3, 3]
    assert rows[-1]["train_loss"] < rows[1]["train_loss"]
    assert (folder.path / "report.html").is_file()
    assert json.loads((folder.path / "summary.json").read_text())["strategy"] == "median"


def test_its_rule_by_hand(toys):
    from tests.seams.median import Median

    identify()
    strategy = Median(federation(clients=3))
    replies = [reply(m, B=b) for m, b in zip(sent(strategy), ([1, 5], [2, 900], [9, 7]), strict=True)]
    assert merged(strategy, replies)["B"].tolist() == [2, 7]


def test_a_method_whose_clients_do_something_new_is_two_files(toys, simulate, config):
    """With the decay the same clients learn the same, held smaller; and privacy covers it: it reads values alone."""
    sizes = {}
    for name in ("ffa", "decayed"):
        values = {"strategy.name": name, "rounds": 1, "train.optimizer": "sgd", "train.steps": 30, "train.lr": 0.05}
        folder, _ = simulate({**values, "run.folder": f"{config()['run.folder']}-{name}"})
        adapter = bract.load(folder.adapter)
        sizes[name] = float(np.linalg.norm(adapter.model.get("B")))
    assert 0 < sizes["decayed"] < 0.9 * sizes["ffa"]
    private = {"privacy.unit": "example", "privacy.delta": 1e-3, "privacy.epsilon": 50.0, "train.steps": 2}
    folder, _ = simulate({**private, "strategy.name": "decayed", "run.folder": f"{config()['run.folder']}-private"})
    assert folder.rounds()[-1]["epsilon"] > 0


def test_a_client_that_does_not_know_a_directive_says_so(toys, simulate, monkeypatch, home):
    """As one of an older version would: by name, with what it knows, and nothing is trained."""
    from bract.wire.plan import Plan

    asked = Plan.from_record

    def older(record, slots):
        monkeypatch.delitem(registry.DIRECTIVES, "decay", raising=False)
        return asked(record, slots)

    monkeypatch.setattr(Plan, "from_record", staticmethod(older))
    with pytest.raises(BractError, match="directive 'decay', which this version does not know; it knows select, prune"):
        simulate({"strategy.name": "decayed", "rounds": 1, "privacy.unit": "example", "privacy.delta": 1e-3})
    assert not list((home / "ledger").glob("*.json"))


@pytest.fixture
def numbers(tmp_path):
    """Texts of which each has a number, by its words."""
    worth = dict(zip(TEXTS, (-1.0, -0.5, 0.5, 1.0), strict=True))
    lines = ["text,worth"]
    for copy in ("", " please", " now") * 3:
        lines += [f"{text}{copy},{worth[label]}" for label, texts in TEXTS.items() for text in texts]
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(lines) + "\n")
    return {"data.source": f"file:{path}", "data.label": "worth", "model.task": "regress", "lora.head": "shared"}


def test_a_task_is_one_file(toys, simulate, numbers):
    """Through a simulation, its report, its adapter, and the adapter's use."""
    folder, _ = simulate({**numbers, "strategy.name": "fedit", "rounds": 4, "train.epochs": 3, "lora.rank": 4})
    rows = folder.rounds()
    assert rows[0]["accuracy"] is None
    assert rows[-1]["distance"] < 0.5 * rows[0]["distance"]
    assert rows[-1]["distance_worst"] >= rows[-1]["distance_mean"]  # less is better: the worst are the farthest
    clients = [row for row in read_rows(folder.path / "clients.jsonl") if row["round"] == 4]
    held = sum(row["held_out"] for row in clients)
    mean = sum(row["distance"] * row["held_out"] for row in clients) / held
    assert mean == pytest.approx(rows[-1]["distance"])

    page = (folder.path / "report.html").read_text()
    assert "Final distance" in page
    assert "Distance by round" in page
    assert "ccuracy" not in page.replace("test_accuracy", "")
    card = (folder.adapter / "README.md").read_text()
    assert "It gives a number for a text." in card
    assert f"Distance on the clients' held-out texts: {rows[-1]['distance']:.4f}" in card

    model = bract.load(folder.adapter)
    low, high = model.predict(["my card is lost", "i need help"])
    assert low < 0 < high


@pytest.mark.parametrize("engine", ["fused", "opacus"])
def test_a_task_under_privacy(toys, simulate, numbers, engine):
    """Its examples are clipped and noised, and its spending counted, without a line about it."""
    private = {"privacy.unit": "example", "privacy.epsilon": 50.0, "privacy.delta": 1e-3, "privacy.test-seed": "t"}
    folder, _ = simulate({**numbers, **private, "strategy.name": "ffa", "train.engine": engine, "train.steps": 3})
    assert folder.rounds()[-1]["distance"] is not None
    spent = json.loads((folder.path / "privacy.json").read_text())["clients"]
    assert [client["rounds"] for client in spent] == [2, 2, 2]


def test_both_engines_give_a_task_s_gradients(toys, simulate, numbers, config):
    """The same adapter, to rounding, whichever engine computed the losses' gradients."""
    found = {}
    for engine in ("fused", "opacus"):
        place = f"{config()['run.folder']}-{engine}"
        folder, _ = simulate({**numbers, "train.engine": engine, "train.optimizer": "sgd", "run.folder": place})
        found[engine] = bract.load(folder.adapter).model.get("B")
    assert np.abs(found["fused"]).max() > 0
    assert np.allclose(found["fused"], found["opacus"], atol=1e-5)


def test_a_task_without_labels_cannot_be_split_by_them(toys, simulate, numbers):
    with pytest.raises(BractError, match="data.partition = 'dirichlet:0.1': these examples have no labels to split by"):
        simulate({**numbers, "data.partition": "dirichlet:0.1"})


def test_unknown_names_are_refused_with_the_nearest(toys):
    assert read({"model.task": "regress"}).model.task == REGRESSION.name
    with pytest.raises(BractError, match="model.task = 'regres': should be one of classify, regress; the nearest is"):
        read({"model.task": "regres"})
    with pytest.raises(BractError, match="strategy.name = 'medan': should be one of .*median, decayed; the nearest is"):
        read({"strategy.name": "medan"})
