"""Plans and payloads: what a server asks of one round, damaged, doubled, or for what nobody promised."""

import numpy as np
import pytest
from flwr.app import RecordDict

from bract.directives.personal import PersonalPhase
from bract.wire.messages import PAYLOAD, PLAN, payload_record
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan
from tests.hostile.node import assert_tells_nothing, header, message, parts, rows_of, with_plan

ALL = parts("trains", "sends", "receives")
ODD = [
    {"trains": []},
    {"trains": ["everything"]},
    {"trains": ["B", "B"]},
    {"round": -1},
    {"round": 2**40},
    {"round": "one"},
    {"federation": "../../etc"},
    {"federation": "x" * 65},
    {"federation": ""},
    {"slots": [0, 0]},
    {"slots": [10**9]},
    {"slots": []},
    {"slots": [0.5]},
    {"keeps": ["B"], "sends": ["B"]},
    {"rank": 3},
    {"joined": 9, "keeps": ["A"], "trains": ["A", "B"], "sends": ["B"]},
    {"do": [{"name": "show-me-the-data"}]},
    {"do": [{"name": "select", "count": 10**9, "score": "product", "reuse": False}]},
    {"do": [{"name": "select", "count": 1, "score": "ssn", "reuse": False}]},
    {"do": [{"name": "personal", "count": 10**9}]},
    {"do": {"name": "prune"}},
    {"more": 1},
]
NO_PLANS = ["", "{", "null", "[]", "[" * 10**5, "1e999", '{"round": 1}']


@pytest.mark.parametrize("plan", [*ODD, *NO_PLANS], ids=range(len(ODD) + len(NO_PLANS)))
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_an_odd_plan_is_answered_the_same_whatever_the_data(node, kind, plan):
    """In the server's own words, or in an abstention; nothing was charged for one that cannot be obeyed."""
    sites, replies = (node(), node([{**row, "story": "help"} for row in rows_of(33)], name="others")), []
    for site in sites:
        asked = with_plan(message(Plan(1, "f", **ALL), site.layout()), plan)
        replies.append(site.ask(kind, {}, asked))
        assert_tells_nothing(replies[-1], site)
    assert replies[0].status == replies[1].status
    assert replies[0].words == replies[1].words
    assert replies[0].fields.keys() == replies[1].fields.keys()


def broken(content, how):
    """The same message with a payload that is none."""
    data = np.frombuffer(content.array_records[PAYLOAD][PAYLOAD].data, dtype=np.uint8)[128:].copy()
    if how == "none":
        return RecordDict({PLAN: content[PLAN]})
    if how == "no plan":
        return RecordDict({PAYLOAD: content[PAYLOAD]})
    if how == "nan":
        data[-4:] = np.frombuffer(np.float32(np.nan).tobytes(), dtype=np.uint8)
    if how == "endless":
        data[-4:] = np.frombuffer(np.float32(np.inf).tobytes(), dtype=np.uint8)
    if how == "layout":
        data[12] ^= 1
    return RecordDict({**content, PAYLOAD: payload_record(data[:-1] if how == "short" else data)})


@pytest.mark.parametrize("how", ["none", "no plan", "nan", "endless", "layout", "short"])
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_broken_payload_is_refused_and_costs_nothing(node, kind, how):
    """Not a number in the model would make every loss one: a measurement of nothing but who is there."""
    sites = node(policy={"privacy": {"epsilon": 10.0, "delta": 1e-3}}), node(rows_of(40), name="others")
    replies = [
        site.ask(kind, {"rounds": 1}, broken(message(Plan(1, "f", **ALL), site.layout()), how)) for site in sites
    ]
    assert replies[0].declined
    assert replies[0].words == replies[1].words
    assert_tells_nothing(replies[0], sites[0])
    assert sites[0].train({"rounds": 1}).status == "done"


@pytest.mark.parametrize("value", [1e38, -1e38, 1e30])
def test_values_at_the_edge_tell_nothing(node, value):
    """A head so large that losses overflow: the reply is there, or is not, whatever the data."""
    replies = [
        getattr(node(rows, name=f"{kind}{i}"), kind)(head=value)
        for kind in ("train", "evaluate")
        for i, rows in enumerate((rows_of(), [{**row, "story": "help"} for row in rows_of()]))
    ]
    for ours, others in (replies[:2], replies[2:]):
        assert ours.status == others.status
        assert ours.words == others.words
        assert ours.fields.keys() == others.fields.keys()


@pytest.mark.parametrize("steps", [1, 5])
def test_a_personal_phase_is_the_settings_or_none(node, steps):
    """It trains without noise, so a plan that asks for one that the settings do not have is refused."""
    site = node()
    reply = site.evaluate({"rounds": 1}, keeps=("head",), receives=("B",), do=(PersonalPhase(steps),))
    assert reply.declined
    assert_tells_nothing(reply, site)


def test_what_a_personal_phase_makes_of_the_data_is_not_measured_exactly(node):
    wishes = {"rounds": 1, "strategy.name": "fedsa", "strategy.personal-steps": 3}
    site = node()
    trains = {"trains": ("A", "B"), "sends": ("A",), "receives": ("A",), "keeps": ("B",)}
    assert site.train(wishes, **trains).status == "done"
    reply = site.evaluate(wishes, receives=("A",), keeps=("B",), joined=1, do=(PersonalPhase(3),))
    assert reply.declined or all(value != int(value) for value in reply.metrics.values())


@pytest.mark.parametrize("codec", ["float32", "float16", "int8"])
def test_a_codec_writes_noised_values_and_a_header_of_the_plan(node, codec):
    ours, others = node().train({"wire.codec": codec}), node(rows_of(33), name="others").train({"wire.codec": codec})
    assert header(ours.payload) == header(others.payload)
    assert len(ours.payload) == len(others.payload)
    assert ours.payload != others.payload


def test_a_part_that_does_not_train_is_not_sent_back_changed(node):
    """What travels without training is what came down, and nothing of the data."""
    ours = node().train(trains=("B",), sends=("B", "head"), head=0.25)
    others = node(rows_of(33), name="others").train(trains=("B",), sends=("B", "head"), head=0.25)
    size = 4 * (4 * 32 + 4)
    assert ours.payload[-size:] == others.payload[-size:]


def test_values_at_the_edge_do_not_end_training_for_others(node):
    """What is found out about a model once and for all is found from its own values, and not from a server's."""
    wishes = {"lora.rank": 3}  # a model that no other test has looked at
    site = node()
    asked = Plan(1, "f", **ALL)
    layout = site.layout(wishes)
    edge = {part: np.full(layout.size(part), 1e20, dtype=np.float32) for part in asked.receives}
    sent = RecordDict({PLAN: asked.to_record(), PAYLOAD: payload_record(pack(layout, Payload(1, edge)))})
    assert_tells_nothing(site.ask("train", wishes, sent), site)
    assert site.train(wishes, federation="g").status == "done"
