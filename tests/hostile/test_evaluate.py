"""Measuring: a crafted head told exactly whether one person's text is held out. It is charged, noised and bounded."""

import pytest

from tests.hostile.node import LABEL, rows_of

ALWAYS = {
    label: [100.0 if i == place else 0.0 for i in range(4)]
    for place, label in enumerate(("lost", "late", "rate", "help"))
}


def test_a_head_that_counts_a_label_counts_nothing_exactly(node):
    """It answers `lost` to every text, so `correct` was the number of held-out texts of that label."""
    found = node().evaluate(head=ALWAYS["lost"])
    assert found.status == "done", found.words
    assert all(value != int(value) for value in found.metrics.values())


def test_one_person_s_presence_is_not_read_off(node):
    """The attack itself: the same question of two data sets that differ in a person, told apart by the exact count."""
    with_her = rows_of()
    without = [*with_her[:3], {**with_her[3], LABEL: "lost"}, *with_her[4:]]
    answers = [[], []]
    for trial in range(12):
        for side, rows in enumerate((with_her, without)):
            reply = node(rows, name=f"{side}-{trial}").evaluate(head=ALWAYS["lost"])
            answers[side].append(reply.metrics["correct"])
    assert len({*answers[0]}) == len({*answers[1]}) == 12  # exact ones would repeat
    assert min(answers[0]) < max(answers[1])
    assert min(answers[1]) < max(answers[0])


def test_a_limit_of_nothing_measures_nothing(node):
    site = node(policy={"privacy": {"epsilon": 0.0}})
    assert site.evaluate().declined
    assert site.train().declined


def test_asking_again_gives_the_same_bytes_and_no_fresh_noise(node):
    """Else the mean of many answers would be the exact one."""
    site = node()
    first = site.evaluate(head=ALWAYS["late"])
    again = [site.evaluate(head=ALWAYS["late"]) for _ in range(3)]
    assert first.status == "done", first.words
    assert any(value != int(value) for value in first.metrics.values())
    assert all(reply.fields == first.fields for reply in again)


def test_many_heads_come_to_an_end(node):
    """Each is another question. A run's target pays for its own rounds' measuring, and no more."""
    site = node()
    replies = [site.evaluate(head=[0.1 * i, 0, 0, 0]) for i in range(12)]
    answered = [reply.status == "done" for reply in replies]
    assert answered[0]
    assert not answered[-1]
    assert answered == sorted(answered, reverse=True)  # once its budget is spent, it stays spent


def test_many_federations_come_to_an_end(node):
    """A new name is a new run, and the operator's limit holds over all of them."""
    site = node(policy={"privacy": {"epsilon": 20.0}})
    answered = [site.evaluate(head=ALWAYS["rate"], federation=f"f{i}").status == "done" for i in range(20)]
    assert answered[0]
    assert not any(answered[-5:])


@pytest.mark.parametrize("wishes", [{"data.holdout": 0.0}, {"data.holdout": 0.9}, {"seed": 1}, {"seed": 2}])
def test_who_is_held_out_is_not_the_server_s_choice(node, wishes):
    """With its own share and seed it could move one text between the parts, and measure it apart."""
    site = node(policy={"privacy": {"exact-metrics": True, "measuring": "exact"}})
    exact = {"privacy.measuring": "exact"} if "privacy.measuring" in site.wishes else {}
    assert (
        site.evaluate(exact, head=ALWAYS["lost"]).metrics
        == site.evaluate({**exact, **wishes}, head=ALWAYS["lost"]).metrics
    )


def test_the_hold_out_differs_from_node_to_node(node):
    """It hangs on the node's own secret, so a server that knows the texts does not know the parts."""
    found = set()
    for i in range(8):
        site = node(rows_of(200), policy={"privacy": {"exact-metrics": True, "measuring": "exact"}}, name=f"site{i}")
        wishes = {"privacy.measuring": "exact"} if "privacy.measuring" in site.wishes else {}
        found.add(tuple(sorted(site.evaluate(wishes, head=ALWAYS["lost"]).metrics.items())))
    assert len(found) > 1


def test_measuring_may_be_forbidden(node):
    site = node(policy={"privacy": {"measuring": "nothing"}})
    assert site.evaluate().declined


@pytest.mark.parametrize("wish", ["exact", "noisy", "auto", "nothing"])
def test_no_wish_makes_it_exact(node, wish):
    reply = node().evaluate({"privacy.measuring": wish}, head=ALWAYS["lost"])
    assert reply.declined or all(value != int(value) for value in reply.metrics.values())
