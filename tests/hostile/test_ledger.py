"""Budgets: names that a server or a copy makes up are no new budget."""

import shutil

import pytest

from tests.hostile.node import rows_of

ONCE = {"privacy": {"epsilon": 10.0, "delta": 1e-3}}  # a run's target is 8, in one round: a second run is beyond
ROUND = {"rounds": 1}


def spent(site, **plan):
    """Whether one round by this plan is beyond what is left."""
    reply = site.train(ROUND, **plan)
    assert reply.status in ("done", "abstained"), reply.words
    return reply.status == "abstained"


def test_a_partition_id_is_no_new_budget(node):
    """0, 1 and 2 once spent the whole limit each."""
    site = node(policy=ONCE)
    assert not spent(site)
    for partition in (1, 2, 3):
        site.config |= {"partition-id": partition, "num-partitions": 5}
        assert spent(site, federation="g")
        assert spent(site, head=1.0)  # not even under the same run's name


@pytest.mark.parametrize("how", ["copy", "symlink", "hard link"])
def test_a_copied_file_is_no_new_budget(node, tmp_path, how):
    site = node(policy=ONCE)
    assert not spent(site)
    again = tmp_path / "again.csv"
    if how == "copy":
        shutil.copy(site.data, again)
    else:
        (again.symlink_to if how == "symlink" else again.hardlink_to)(site.data)
    site.config["data-path"] = str(again)
    assert spent(site, federation="g")


@pytest.mark.parametrize(
    "wishes", [{"seed": 5}, {"data.text": "patient"}, {"data.label": "ssn"}, {"data.max-length": 8}, {"lora.rank": 1}]
)
def test_a_setting_is_no_new_budget(node, wishes):
    site = node(policy=ONCE)
    assert not spent(site)
    assert site.train(ROUND | wishes, federation="g").declined


def test_a_federation_s_name_is_no_new_budget(node):
    site = node(policy=ONCE)
    assert not spent(site, federation="a")
    assert all(spent(site, federation=name) for name in ("b", "c" * 64, "0"))


def test_an_old_round_again_costs_nothing_and_tells_nothing_new(node):
    """The same request gives the same bytes; another payload in the same round is another request, and is charged."""
    site = node(policy=ONCE)
    first = site.train(ROUND)
    assert first.status == "done", first.words
    assert site.train(ROUND).fields == first.fields
    assert site.train(ROUND, head=1.0).status == "abstained"
    assert site.train(ROUND).fields == first.fields


def test_what_is_refused_costs_nothing(node):
    site = node(policy=ONCE)
    for wishes in ({"privacy.share-metrics": True}, {"privacy.unit": "none"}, {"privacy.test-seed": "7"}):
        assert site.train(ROUND | wishes).declined
    assert not spent(site)


def test_training_and_measuring_each_have_their_own_part_of_the_examples(node):
    """So that measuring does not end training, and the other way round."""
    site = node(policy=ONCE)
    assert not spent(site)
    assert site.evaluate(ROUND).status == "done"


def test_a_list_of_labels_is_no_new_budget(node):
    """A server that may name the labels has other rows used by each of its runs: all are the same persons'."""
    unnamed = {"name": "", "user": "patient", "labels": "from-run"}
    site = node(rows_of(216), policy={**ONCE, "data": unnamed, "privacy": {**ONCE["privacy"], "unit": "person"}})
    wishes = {**ROUND, "privacy.unit": "person"}
    names = {"f": '["lost", "late"]', "g": '["rate", "help"]'}
    statuses = [site.train({**wishes, "data.labels": told}, federation=run).status for run, told in names.items()]
    assert statuses == ["done", "abstained"]
