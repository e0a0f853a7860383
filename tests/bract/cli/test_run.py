"""`bract run`, up to the point where Flower is started."""

import json
from pathlib import Path

import pytest

from bract.cli.run import with_labels, without_privacy
from bract.errors import BractError
from bract.settings.read import read

ROOT = str(Path(__file__).parents[3])


def test_the_price_is_asked_of_private_simulations_alone(fails):
    assert "--price: compares" in fails("run", ROOT, "--price", "-c", "privacy.unit=none")
    overrides = {"privacy.unit": "example", "privacy.epsilon": 3.0, "rounds": 2, "run.folder": "/x"}
    assert without_privacy(overrides) == {"rounds": 2, "run.folder": "/x-plain", "privacy.unit": "none"}


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
