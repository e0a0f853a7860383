"""Delta: with one near one in the number of examples, whole examples may leak and the promise still be kept."""

import pytest

from tests.hostile.node import rows_of

TRAINS, HELD = 150, 50  # of 200 rows


@pytest.mark.parametrize(("of_n", "trains"), [(0.9, False), (0.2, False), (0.05, True)])
def test_delta_is_at_most_a_tenth_of_one_in_n(node, of_n, trains):
    """0.9 / n once passed."""
    site = node(rows_of(200))
    reply = site.train({"privacy.delta": of_n / TRAINS})
    assert (reply.status == "done") == trains, reply.words


@pytest.mark.parametrize(("delta", "measures"), [(0.009, False), (0.05 / HELD, True)])
def test_measuring_keeps_to_the_same(node, delta, measures):
    """Held-out examples are people's, too."""
    reply = node(rows_of(200)).evaluate({"privacy.delta": delta})
    assert (reply.status == "done") == measures, reply.words


def test_the_words_do_not_tell_n(node):
    """The same whatever the number of examples, as long as it is too small."""
    found = {node(rows_of(count), name=f"n{count}").train({"privacy.delta": 0.009}).words for count in (60, 90, 200)}
    assert len(found) == 1


def test_an_operator_may_ask_for_less(node):
    site = node(policy={"privacy": {"largest-delta": 1e-6}})
    assert site.train({"privacy.delta": 1e-6}).status == "done"
    assert site.train({"privacy.delta": 1e-5}).declined
