"""Nodes with data of their own: `data.source = node`."""

import json

import pytest

from bract.data.tables import identity
from bract.errors import BractError
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.settings.schema import DataSettings
from client_app import policy
from client_app.data import cache
from client_app.privacy.ledger import ledger_path
from tests.harness import TEXTS, tiny_data


@pytest.fixture
def sites(tmp_path):
    """Three sites' own files, of unequal size, and their labels."""
    paths = [tiny_data(tmp_path / f"site{i}.csv", copies=3 + i) for i in range(3)]
    names = tmp_path / "names.json"
    names.write_text(json.dumps(list(TEXTS)))
    return {i: {"data-path": str(path), "labels-path": str(names)} for i, path in enumerate(paths)}


def test_every_site_trains_on_all_of_its_own_file(simulate, sites):
    folder, grid = simulate({"data.source": "node", "data.labels": ""}, node_config=sites)
    rows = [row for row in read_rows(folder.path / "clients.jsonl") if row["round"] == 1]
    held = [round(0.2 * 16 * (3 + i)) for i in range(3)]
    assert [row["status"] for row in rows] == ["merged"] * 3
    assert [row["examples"] for row in rows] == [16 * (3 + i) - held[i] for i in range(3)]
    assert folder.rounds()[-1]["accuracy"] > folder.rounds()[0]["accuracy"]
    for _, partition, asked, answered in grid.log:  # nobody's path is on the wire, either way
        assert sites[partition]["data-path"].encode() not in asked + answered
        assert b"site0.csv" not in asked + answered


def test_the_ledger_is_of_the_site_s_own_file(simulate, sites):
    private = {"privacy.unit": "example", "train.batch": 8, "privacy.delta": 1e-3, "rounds": 1, "train.steps": 2}
    simulate({"data.source": "node", "data.labels": "", **private}, node_config=sites)
    for partition, config in sites.items():
        source = identity(policy.data(config, DataSettings(source="node")))
        assert ledger_path(source, partition).is_file()


def test_a_site_that_names_its_data_trains_on_nothing_else(simulate, sites):
    with pytest.raises(BractError, match="this node trains on its own data alone; it should be 'node'"):
        simulate(node_config=sites)  # the server names another file


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data-path": None}, "should hold data-path, an absolute path"),
        ({"data-path": "here.csv"}, "should hold data-path, an absolute path"),
        ({"data-path": "/nowhere/secret.csv"}, "there is no file its data-path"),
        ({"labels-path": "/nowhere/secret.json"}, "its labels cannot be read"),
        ({"labels-path": 3}, "labels-path in the node's configuration should be"),
    ],
)
def test_what_is_wrong_at_a_site_is_told_without_its_paths(simulate, sites, changed, words):
    sites[1] = {key: value for key, value in {**sites[1], **changed}.items() if value is not None}
    with pytest.raises(BractError, match=words) as error:
        simulate({"data.source": "node", "data.labels": ""}, node_config=sites)
    assert "secret" not in str(error.value)


def test_only_a_run_of_nodes_data_reads_the_node_s_path(sites):
    other = DataSettings(source="file:/shared.csv")
    assert policy.data({}, other) == other
    with pytest.raises(BractError, match="trains on its own data alone"):
        policy.data(sites[0], other)
    assert policy.data(sites[0], DataSettings(source="node", labels="/run.json")).labels == "/run.json"


@pytest.mark.parametrize("more", [{"data.partition": "iid"}, {"data.holdout-mix": "independent"}])
def test_a_site_s_file_is_not_split(more):
    with pytest.raises(BractError, match="a node's file is its own and is not split"):
        read({"data.source": "node", **more})


def test_what_the_system_says_of_a_file_leaves_without_its_name(simulate, sites, tmp_path, monkeypatch, caplog):
    """The ledger's name has the end of the data file's."""
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setenv("BRACT_HOME", str(tmp_path / "full"))
    private = {"privacy.unit": "example", "train.batch": 8, "privacy.delta": 1e-3, "rounds": 1, "train.steps": 2}
    with pytest.raises(BractError, match="Errno") as error:
        simulate({"data.source": "node", "data.labels": "", **private}, node_config=sites)
    assert "full" not in str(error.value)
    assert "site0" not in str(error.value)
    assert str(tmp_path / "full") in caplog.text


def test_a_file_that_has_changed_is_read_again(simulate, sites, tmp_path):
    """A resident trainer outlives runs, and an operator may add to the data between them."""
    values = {"data.source": "node", "data.labels": "", "data.holdout": 0.0, "rounds": 1}
    simulate(values, node_config=sites)
    tiny_data(tmp_path / "site0.csv", copies=9)
    folder, _ = simulate({**values, "run.folder": str(tmp_path / "again")}, node_config=sites)
    rows = read_rows(folder.path / "clients.jsonl")
    assert [row["examples"] for row in rows if row["partition"] == 0] == [9 * 16]


def test_what_is_kept_of_a_file_goes_when_it_changes(tmp_path):
    path = tiny_data(tmp_path / "own.csv", copies=2)
    settings = DataSettings(source=f"file:{path}")
    cache.refresh(settings)
    assert len(cache.dataset(settings, 0, "classify")[0]) == 32
    cache.refresh(settings)
    assert cache.dataset.cache_info().hits == 0
    cache.dataset(settings, 0, "classify")
    assert cache.dataset.cache_info().hits == 1  # it is kept while the file is the same
    tiny_data(path, copies=3)
    cache.refresh(settings)
    assert len(cache.dataset(settings, 0, "classify")[0]) == 48


@pytest.mark.parametrize("wrong", [{"data-path": "/"}, {"data-path": "/a\nb"}, {"labels-path": "/"}])
def test_a_path_that_is_none_is_refused_without_its_name(wrong):
    with pytest.raises(BractError, match="absolute path") as caught:
        policy.data({"data-path": "/secret.csv", **wrong}, DataSettings(source="node"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
