"""`bract run`, up to the point where Flower is started."""

import json
from pathlib import Path

import pytest

from bract.cli.privately import LEAST, TOGETHER, alone, together, without_privacy
from bract.cli.run import with_labels
from bract.errors import BractError
from bract.settings.read import read
from bract.settings.schema import Settings

ROOT = str(Path(__file__).parents[3])


def test_the_price_is_asked_of_private_simulations_alone(fails):
    assert "--price: compares" in fails("run", ROOT, "--price", "-c", "privacy.unit=none")
    overrides = {"privacy.unit": "example", "privacy.epsilon": 3.0, "rounds": 2, "run.folder": "/x"}
    assert without_privacy(overrides) == {"rounds": 2, "run.folder": "/x-plain", "privacy.unit": "none"}


def test_clients_share_the_noise_of_a_private_run_where_nothing_else_was_said():
    assert together({}, Settings(), LEAST) == TOGETHER
    person = {"privacy.unit": "person", "data.source": "file:/x.csv", "data.user": "user"}
    assert together(person, read(person), 10) == TOGETHER
    for values, clients in (
        ({}, LEAST - 1),
        ({"privacy.unit": "none"}, 10),
        ({"privacy.unit": "client", "privacy.delta": 1e-5}, 10),
        ({"privacy.noise": "local"}, 10),
        ({"train.steps": 5}, 10),
        ({"rounds": 5}, 10),
        ({"strategy.name": "hetlora"}, 10),
        ({"strategy.name": "lora-a2"}, 10),
        ({"wire.codec": "int8"}, 10),
    ):
        assert together(values, read(values), clients) == {}, values


def test_what_a_shared_run_is_compared_with():
    shared = {"privacy.epsilon": 3.0, "lora.rank": 4, "run.folder": "/x", **TOGETHER}
    common = {"lora.rank": 4, "federation.measure": "last"}
    assert alone(shared) == {**common, "privacy.epsilon": 3.0, "run.folder": "/x-local"}
    assert without_privacy(shared) == {**common, "privacy.unit": "none", "run.folder": "/x-plain"}


def test_fewer_nodes_than_the_run_waits_for_are_refused_at_once(fails):
    assert "--nodes starts only 2" in fails("run", ROOT, "--nodes", "2", "-c", "federation.nodes=4")


def test_a_list_of_labels_that_is_a_file_here_goes_to_nodes_as_it_stands(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text('{"late": "has not come", "lost": "is gone"}')
    at_nodes, here = ({"data.source": source, "data.labels": str(path)} for source in ("node", "file:/x.csv"))
    assert json.loads(with_labels(at_nodes, read(at_nodes))["data.labels"]) == {
        "late": "has not come",
        "lost": "is gone",
    }
    assert with_labels(here, read(here)) == here
    written = {"data.source": "node", "data.labels": '["late", "lost"]'}
    assert with_labels(written, read(written)) == written
    path.write_text("3")
    with pytest.raises(BractError, match="should hold a list of names"):
        with_labels(at_nodes, read(at_nodes))
