"""Joining: the server says which column holds the labels, and names files. The node obeys its policy alone."""

import json

import pytest

from bract.wire.cards import ClientCard
from tests.hostile.node import LABELS, TEXT, UNLISTED, assert_tells_nothing, rows_of


@pytest.mark.parametrize("column", ["ssn", "patient", TEXT, "no-such-column"])
@pytest.mark.parametrize("key", ["data.label", "data.text"])
def test_a_column_that_the_server_names_is_never_read(node, key, column):
    """`data.label = ssn` once made the lowest numbers an error's words, and a wrong name listed all columns."""
    site = node()
    reply = site.ask("join", {key: column})
    assert reply.fields == site.ask("join").fields
    assert reply.card.labels == LABELS
    assert_tells_nothing(reply, site)


def test_labels_of_the_data_are_not_the_card_s(node):
    """Once the whole column came back as the card's list. One patient's label outside the policy's list is not told."""
    site = node()
    reply = site.ask("join")
    assert reply.card.labels == LABELS
    assert UNLISTED not in reply.everything


def test_nobody_s_labels_are_told_where_no_list_is_declared(node):
    site = node(policy={"data": {"labels": None}})
    reply = site.ask("join")
    assert reply.declined
    assert_tells_nothing(reply, site)


@pytest.mark.parametrize(
    "labels", [["help", "late", UNLISTED], {"help": "wants help", UNLISTED: "", "rate": "asks a rate"}]
)
def test_the_run_may_bring_its_list_inline(node, labels):
    """It is given back as it came, whatever labels the data has."""
    ours = node(policy={"data": {"labels": None}})
    others = node([{**row, "topic": "other"} for row in rows_of()], policy={"data": {"labels": None}}, name="others")
    cards = [site.ask("join", {"data.labels": json.dumps(labels)}).card for site in (ours, others)]
    assert cards[0] == cards[1]
    assert cards[0].labels == tuple(labels)


ODD = [
    "[",
    "[]",
    "{}",
    "[[1]]",
    "[null, 3]",
    '["a", "a"]',
    '{"a": 1}',
    '["' + "x" * 10**5 + '"]',
    json.dumps([*map(str, range(10**4))]),
]


@pytest.mark.parametrize("labels", ODD, ids=range(len(ODD)))
def test_an_odd_list_is_answered_the_same_whatever_the_data(node, labels):
    ours = node(policy={"data": {"labels": None}})
    others = node([], policy={"data": {"labels": None}}, name="others")
    replies = [site.ask("join", {"data.labels": labels}) for site in (ours, others)]
    assert told(replies[0]) == told(replies[1])
    assert_tells_nothing(replies[0], ours)


@pytest.mark.parametrize("policy_lists", [True, False])
def test_a_file_that_the_server_names_is_not_touched(node, tmp_path, policy_lists):
    """`data.labels` once named any JSON file of strings on the node, and its strings came back as the card's labels."""
    site = node(policy={} if policy_lists else {"data": {"labels": None}})
    (tmp_path / "secrets.json").write_text('["the key of the safe", "is under the mat"]')
    (tmp_path / "torn.json").write_text("{")
    names = ["secrets.json", "torn.json", "missing.json", "missing/missing.json", "folder"]
    (tmp_path / "folder").mkdir()
    replies = [site.ask("join", {"data.labels": str(tmp_path / name)}) for name in names]
    assert len({reply.words for reply in replies}) == 1
    for reply in replies:
        assert reply.declined
        assert "safe" not in reply.everything
        assert_tells_nothing(reply, site)


@pytest.mark.parametrize("wishes", [{}, {"lora.head-init": "labels", "model.pooling": "mean"}])
def test_the_head_s_first_values_do_not_hang_on_the_data(node, wishes):
    """Made of label names, they must be of the declared ones."""
    ours, others = node(), node([{**row, "topic": "lost"} for row in rows_of()], name="others")
    assert ours.ask("head", wishes).fields == others.ask("head", wishes).fields
    assert not ours.ask("head", wishes).error


@pytest.mark.parametrize("rows", [[], rows_of(1), rows_of(500)])
def test_the_card_is_the_same_for_any_number_of_examples(node, rows):
    card = node(rows, name="other").ask("join").fields
    assert card == node().ask("join").fields


def told(reply):
    """A card as its fields, or an error's words without the id of the node's log line."""
    return ClientCard.plain(reply.card) if not reply.error else reply.words_without_id
