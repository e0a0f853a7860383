"""Nodes with data of their own: `data.source = node`."""

import json

import numpy as np
import pytest

from bract.errors import BractError
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.settings.schema import DataSettings
from client_app.data import cache
from client_app.data.holdout import held_out
from server_app.checkpoint import Checkpoint
from tests.harness import TEXTS, tiny_data

NODE = {"data.source": "node", "data.labels": "", "privacy.share-metrics": True}
PRIVATE = {
    "privacy.unit": "example",
    "train.batch": 8,
    "privacy.delta": 1e-3,
    "rounds": 1,
    "train.steps": 2,
    "privacy.share-metrics": False,
}


def test_every_site_trains_on_its_own_file_and_holds_some_of_it_out(simulate, sites):
    folder, grid = simulate(NODE, node_config=sites())
    rows = [row for row in read_rows(folder.path / "clients.jsonl") if row["round"] == 1]
    assert [row["status"] for row in rows] == ["merged"] * 3
    whole = [16 * (3 + i) for i in range(3)]
    assert [row["examples"] + row["held_out"] for row in rows] == whole
    assert all(0 < row["held_out"] < 0.5 * n for row, n in zip(rows, whole, strict=True))
    assert folder.rounds()[-1]["accuracy"] is not None  # who is held out is a node's own secret, so no figure is sure
    assert Checkpoint.load(folder.checkpoint).parts["B"].any()
    for _, partition, asked, answered in grid.log:  # nobody's path is on the wire, either way
        assert f"site{partition}.csv".encode() not in asked + answered
        assert b"policy" not in asked + answered


def test_a_site_that_has_its_own_data_trains_on_nothing_else(simulate, sites):
    with pytest.raises(BractError, match="this node trains on its own data alone; it should be 'node'"):
        simulate(node_config=sites())  # the server names another file


@pytest.mark.parametrize(
    "words",
    [{"data.path": "here.csv"}, {"data.path": "/nowhere/secret.csv"}, {"data.label": "secret"}, {"data.holdout": 2.0}],
)
def test_what_is_wrong_at_a_site_is_told_by_an_id_alone(simulate, sites, words, caplog):
    with pytest.raises(BractError, match=r"a fault at this node, whose log has it as [0-9a-f]{8}$") as error:
        simulate(NODE, node_config=sites(**words))
    assert "secret" not in str(error.value)
    number = str(error.value).rpartition(" ")[2]
    assert f"fault {number}: " in caplog.text


def test_a_node_without_data_says_that_it_has_none(simulate):
    with pytest.raises(BractError, match="this node has no data; its configuration should hold data-path"):
        simulate(NODE)


@pytest.mark.parametrize("more", [{"data.partition": "iid"}, {"data.holdout-mix": "independent"}])
def test_a_site_s_file_is_not_split(more):
    with pytest.raises(BractError, match="a node's file is its own and is not split"):
        read({"data.source": "node", **more})


def test_what_the_system_says_of_a_file_stays_in_the_log(simulate, sites, tmp_path, monkeypatch, caplog):
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setenv("BRACT_HOME", str(tmp_path / "full"))
    with pytest.raises(BractError, match="a fault at this node") as error:
        simulate({**NODE, **PRIVATE}, node_config=sites(**{"privacy.unit": "example"}))
    assert "full" not in str(error.value)
    assert str(tmp_path / "full") in caplog.text


def test_a_file_that_has_changed_is_read_again(simulate, sites, tmp_path):
    """A resident trainer outlives runs, and an operator may add to the data between them."""
    configs, values = sites(**{"data.holdout": 0.0}), {**NODE, "rounds": 1}
    simulate(values, node_config=configs)
    tiny_data(tmp_path / "site0.csv", copies=9)
    folder, _ = simulate({**values, "run.folder": str(tmp_path / "again")}, node_config=configs)
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


def test_broken_rows_are_left_out_and_count_all_the_same(tmp_path, home):
    path = tmp_path / "own.csv"
    path.write_text(
        'text,label\nmy card,lost\nlate again,late\nno label,\nsecret,unlisted\ntoo,many,cells\none "quote,late\n'
    )
    labels = json.dumps(list(TEXTS))
    data = cache.own_dataset(DataSettings(source=f"file:{path}", labels=labels), "classify")
    assert data.total == 6
    assert [data.table.columns["text"][i] for i in data.rows] == ["my card", "late again", 'one "quote']
    assert data.outputs.names == tuple(TEXTS)


def test_which_examples_are_held_out_is_each_ones_own(home):
    """One more moves no other; the share is about right; another node's secret holds out others."""
    examples = [(f"text {i}", "late") for i in range(2000)]
    held = held_out(examples, 0.2)
    assert 0.15 < held.mean() < 0.25
    assert np.array_equal(held_out([("another", "lost"), *examples], 0.2)[1:], held)
    assert not held_out(examples, 0.0).any()
    assert (held <= held_out(examples, 0.3)).all()
    (home / "secret").unlink()
    assert not np.array_equal(held_out(examples, 0.2), held)


def test_labels_come_from_the_policy_or_from_the_run_and_never_from_the_data(simulate, sites):
    from_run = sites(**{"data.labels": "from-run"})
    with pytest.raises(BractError, match="neither this node's policy nor the run names the labels"):
        simulate({**NODE, "rounds": 1}, node_config=from_run)
    with pytest.raises(BractError, match="data.labels: a node reads no file that a run names"):
        simulate({**NODE, "data.labels": "/etc/hosts.json", "rounds": 1}, node_config=from_run)
    with pytest.raises(BractError, match="data.labels: is not this node's list of labels"):
        simulate({**NODE, "data.labels": '["other", "late"]', "rounds": 1}, node_config=sites())
    folder, _ = simulate({**NODE, "data.labels": json.dumps(list(TEXTS)), "rounds": 1}, node_config=from_run)
    assert folder.rounds()[-1]["clients"] == 3
