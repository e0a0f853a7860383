"""A run's settings are wishes. What the node's policy does not allow is declined, in words that tell nothing."""

import json

import pytest

from tests.hostile.node import assert_tells_nothing, rows_of

WEAKER = [
    {"privacy.unit": "none"},
    {"privacy.unit": "client"},
    {"privacy.test-seed": "7"},
    {"privacy.share-metrics": True},
    {"lora.rank": 65},
    {"train.batch": 3},
]


@pytest.mark.parametrize("wishes", WEAKER, ids=lambda wishes: next(iter(wishes)))
def test_less_than_the_policy_promises_is_declined(node, wishes):
    """A seed of the server's is noise that it can subtract; `none` and `client` leave a client's values unprotected."""
    site = node(policy={"allow": {"smallest-batch": 4}})
    site.layout()
    for reply in (site.train(wishes), site.evaluate(wishes)):
        assert reply.declined, wishes
        assert_tells_nothing(reply, site)


@pytest.mark.parametrize("wishes", WEAKER, ids=lambda wishes: next(iter(wishes)))
def test_the_words_are_the_same_whatever_the_data(node, wishes):
    found = [node(rows, name=f"n{i}").train(wishes).words for i, rows in enumerate((rows_of(), rows_of(60)))]
    assert found[0] == found[1] or wishes == {"train.batch": 3}


def test_another_task_is_declined(node, monkeypatch):
    from bract.settings import tasks

    monkeypatch.setitem(tasks.TASKS, "regress", "tests.seams.regression:REGRESSION")
    site = node()
    reply = site.ask("join", {"model.task": "regress"})
    assert reply.declined
    assert_tells_nothing(reply, site)


def test_a_model_s_name_is_no_oracle_of_the_node_s_disk(node, tmp_path):
    """Whether a folder is there, is a model's or is none, once were three different errors."""
    (tmp_path / "there").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    site = node()
    names = [str(tmp_path / name) for name in ("there", "model", "missing")] + ["/etc", "~root", "..", "/etc/passwd"]
    replies = {name: site.ask("join", {"model.name": name}) for name in names}
    assert all(reply.declined for reply in replies.values())
    assert len({reply.words.replace(repr(name), "NAME") for name, reply in replies.items()}) == 1


def test_another_model_under_the_allowed_name_is_declined(node):
    """The policy holds the fingerprint of its weights."""
    from tests.harness import tiny_model

    site = node()
    other = tiny_model(site.folder / "other", "distilbert")
    site = node(policy={"allow": {"models": {str(other): "0" * 16}}})
    assert site.ask("join", {"model.name": str(other)}).declined


@pytest.mark.parametrize("source", ["file:/etc/passwd", "file:/nowhere.csv", "hub:someone/something", "demo"])
@pytest.mark.parametrize("has_data", [True, False])
def test_a_node_with_a_policy_reads_nothing_that_a_run_names(node, source, has_data):
    site = node()
    if not has_data:
        del site.config["data-path"]
    reply = site.ask("join", {"data.source": source})
    assert reply.declined
    assert "root:" not in reply.everything
    assert reply.words == site.ask("join", {"data.source": "file:/other.csv"}).words
    assert_tells_nothing(reply, site)


@pytest.mark.parametrize("key", ["data.partition"])
def test_a_natural_split_is_no_oracle_of_columns(node, key):
    site = node()
    words = [site.ask("join", {key: f"natural:{name}"}).words.replace(name, "NAME") for name in ("ssn", "nothing")]
    assert words[0] == words[1]
    assert words[0]


HUGE = [
    {"data.text": "x" * 10**6},
    {"model.name": "x" * 10**6},
    {"data.labels": json.dumps({str(i): "y" * 50 for i in range(10**5)})},
    {"privacy.test-seed": "x" * 10**6},
    {"lora.targets": "q," * 10**5},
    {f"no.such-{i}": i for i in range(2000)},
    {"rounds": 2**62},
    {"train.steps": 2**62},
    {"data.max-length": 8192, "train.batch": 2**40},
]


@pytest.mark.parametrize("wishes", HUGE, ids=range(len(HUGE)))
def test_huge_settings_get_short_words(node, wishes):
    """And the same whatever the data."""
    ours, others = node(), node(rows_of(40), name="others")
    replies = [site.ask("join", wishes) for site in (ours, others)]
    assert replies[0].words_without_id == replies[1].words_without_id
    assert replies[0].fields.keys() == replies[1].fields.keys()
    assert len(replies[0].words) < 2000
    assert_tells_nothing(replies[0], ours)
