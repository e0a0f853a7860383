"""What a reply reports beside the noised values: nothing of the data, unless the node's operator said so."""

import pytest

from tests.hostile.node import rows_of

SHARE = {"privacy.share-metrics": True}


def test_exact_figures_are_the_operator_s_to_give(node):
    """`privacy.share-metrics = true` once was the server's: the exact training loss and the number of examples left."""
    reply = node().train(SHARE)
    assert reply.declined
    assert reply.words


def test_declining_them_says_nothing_of_the_data(node):
    ours, others = node().train(SHARE), node(rows_of(300), name="others").train(SHARE)
    assert ours.declined
    assert ours.fields == others.fields


def test_where_the_operator_allows_them_they_are_sent(node):
    reply = node(policy={"privacy": {"exact-metrics": True}}).train(SHARE)
    assert {"examples", "loss"} <= reply.metrics.keys()


@pytest.mark.parametrize("unit", ["example"])
def test_a_private_reply_reports_what_was_planned(node, unit):
    reply = node().train({"privacy.unit": unit})
    assert reply.metrics == {"steps": 2}
