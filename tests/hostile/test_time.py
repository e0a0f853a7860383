"""Clocks: how long a step takes depends on which texts were drawn, and how long they are."""

import pytest

CLOCKS = ("seconds", "busy", "time", "ms", "duration", "started")


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_private_reply_carries_no_clock(node, kind):
    """`seconds` and `busy` once were there to the nanosecond."""
    reply = getattr(node(), kind)()
    assert reply.status == "done", reply.words
    assert not any(clock in name for name in reply.fields for clock in CLOCKS)


@pytest.mark.parametrize("wishes", [{}, {"train.steps": 0, "train.epochs": 1}, {"train.batch": 8}])
def test_steps_are_those_that_were_planned(node, wishes):
    """Whatever was drawn: an empty draw is a step, too."""
    site, wishes = node(), {**wishes, "privacy.epsilon": 2.0}
    found = {site.train(wishes, federation=f"f{i}", head=float(i)).metrics["steps"] for i in range(3)}
    assert len(found) == 1
    assert set(site.train(wishes, federation="last").metrics) == {"steps"}
