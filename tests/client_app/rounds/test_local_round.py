"""A client obeys its plan: truncation, selection, pruning, what it keeps and what it refuses."""

from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from bract.adapter.initial import draw
from bract.directives import registry
from bract.directives.directive import Directive, Selection
from bract.directives.personal import PersonalPhase
from bract.directives.prune import Prune
from bract.directives.select import Select, best, scores
from bract.errors import BractError
from bract.settings.read import read
from bract.settings.schema import TrainSettings
from bract.settings.steps import Steps, steps_in_round
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.tokens import pad_id
from bract.wire.messages import PAYLOAD, PLAN, REPORT, get_payload, payload_record
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan
from client_app.client import Client
from client_app.rounds.local_round import train_round
from client_app.rounds.measuring import evaluate
from client_app.state import ClientState, Kept
from client_app.training.loop import Phase, train


@pytest.fixture
def client(config):
    def make(values=None, rank=None):
        return Client(
            read(config({"lora.rank": 4, "lora.alpha": 8.0, "train.epochs": 2, **(values or {})})), 0, 3, rank
        )

    return make


def parts_of(layout, scale=0.1):
    parts = draw(layout, 0, pooled=False)
    parts["B"] = (scale * np.random.default_rng(1).normal(size=layout.size("B"))).astype(np.float32)
    return parts


def content(client, plan, parts):
    layout = client.layout
    slots = None if plan.slots is None else np.array(plan.slots)
    down = {part: layout.cut(part, parts[part], slots) for part in plan.receives}
    return RecordDict({PLAN: plan.to_record(), PAYLOAD: payload_record(pack(layout, Payload(plan.round, down, slots)))})


def answer(client, plan, parts):
    reply = train_round(client, content(client, plan, parts))
    return unpack(client.layout, get_payload(reply[PAYLOAD] and reply), round=plan.round, parts=plan.sends)


def net_of(client):
    from client_app.data import cache

    return cache.model(client.shape)


BOTH = ("A", "B")


def test_ranks_that_a_client_does_not_carry_are_not_there(client):
    me = client()
    layout, parts = me.layout, parts_of(me.layout)
    slots = layout.first(1)
    plan = Plan(1, "f", BOTH, BOTH, BOTH, slots=tuple(slots.tolist()))
    got = answer(me, plan, parts)
    assert got.slots.tolist() == slots.tolist()
    net = net_of(me)
    for part in BOTH:
        whole = net.get(part)
        assert (whole == layout.whole(part, got.parts[part], slots)).all()  # and zero elsewhere
        assert (got.parts[part] != layout.cut(part, parts[part], slots)).any()


def test_a_payload_with_other_slots_than_the_plan_s_is_refused(client):
    me = client()
    parts = parts_of(me.layout)
    told = Plan(1, "f", BOTH, BOTH, BOTH, slots=(0, 4))
    sent = content(me, Plan(1, "f", BOTH, BOTH, BOTH, slots=(0, 5)), parts)
    sent[PLAN] = told.to_record()
    with pytest.raises(BractError, match="slots that came down are not those of the plan"):
        train_round(me, sent)


@pytest.mark.parametrize("score", ["product", "magnitude", "sensitivity"])
@pytest.mark.parametrize("part", ["A", "B"])
def test_a_client_selects_trains_and_sends_its_best_slots(client, part, score):
    me = client()
    layout, parts = me.layout, parts_of(me.layout)
    plan = Plan(3, "f", (part,), (part,), BOTH, do=(Select(5, score),), changes=True)
    got = answer(me, plan, parts)
    after = net_of(me).get(part)

    # The same by hand: one unmasked epoch from the same values, scores, the best five.
    net = net_of(me)
    for name, value in parts.items():
        net.set(name, value, layout)
    shard, settings = me.shard.train, me.settings.train
    epoch = Phase((part,), -(-len(shard) // settings.batch), gradients=True)
    rng = np.random.default_rng([0, 2, 3, 0, 2])
    probe = train(net, shard, settings, epoch, rng, losses=CLASSIFICATION.losses, pad=pad_id(me.shape.place))
    other = "A" if part == "B" else "B"
    change = net.get(part) - parts[part]
    wanted = best(scores(layout, part, change, parts[other], probe.gradients[part], score), 5)
    assert got.slots.tolist() == wanted.tolist()

    # Sent is the change of these slots; the others are where they were, to the bit.
    moved = after != parts[part]
    inside = layout.positions(part, wanted)
    assert moved[inside].mean() > 0.9
    moved[inside] = False
    assert not moved.any()
    assert (got.parts[part] == (after - parts[part])[inside]).all()


def test_the_probe_leaves_no_trace(client):
    """What is trained after a probe is what would be trained without one, over the same slots."""
    me = client()
    layout, parts = me.layout, parts_of(me.layout)
    every = Plan(3, "f", ("B",), ("B",), BOTH, do=(Select(layout.slots),), changes=True)
    plain = Plan(3, "f", ("B",), ("B",), BOTH, changes=True)
    assert (answer(me, every, parts).parts["B"] == answer(me, plain, parts).parts["B"]).all()


def test_a_probe_is_one_epoch_or_a_fifth_of_the_steps():
    def probe(**train):
        return steps_in_round(TrainSettings(batch=8, **train), 100, [Select(1)], private=False)

    assert probe(steps=0, epochs=5) == Steps(13, 65)
    assert probe(steps=20) == Steps(4, 20)
    assert probe(steps=12) == Steps(3, 12)
    assert probe(steps=500) == Steps(13, 500)  # never more than an epoch


def hetlora(layout, round_, rank, **rule):
    slots = tuple(layout.first(rank).tolist())
    return Plan(round_, "f", BOTH, BOTH, BOTH, slots=slots, do=(Prune(**rule),))


def test_a_client_prunes_its_tail_and_remembers(client):
    me = client()
    layout, parts = me.layout, parts_of(me.layout)
    # A penalty far above the loss: the tail shrinks, so it goes: floor(0.5 * 4) = 2.
    plan = hetlora(layout, 1, 4, keep=0.5, penalty=50.0)
    assert answer(me, plan, parts).slots.tolist() == layout.first(2).tolist()
    assert ClientState("f", 0).load(layout, 2).notes["rank"] == "2"
    # The server, or its reply, may be behind: the client still carries two, and after another prune one.
    again = answer(me, hetlora(layout, 2, 4, keep=0.99, penalty=50.0), parts)
    assert len(again.slots) // len(layout.modules) == 1
    # It measures with what it carries.
    evaluate(me, content(me, hetlora(layout, 2, 4, keep=0.5, penalty=0.0), parts))
    assert (
        net_of(me).get("B") == layout.whole("B", layout.cut("B", parts["B"], layout.first(1)), layout.first(1))
    ).all()


@pytest.mark.parametrize("change", [{"trains": ()}, {"slots": (0, 1, 2, 3)}])
def test_a_plan_that_cannot_be_is_refused(client, change):
    from dataclasses import replace

    me = client()
    plan = replace(hetlora(me.layout, 1, 4, keep=0.5, penalty=0.0), **change)
    with pytest.raises(BractError, match="the plan trains nothing|not the first ranks of every module"):
        train_round(me, content(me, plan, parts_of(me.layout)))


def test_nothing_is_pruned_where_the_tail_grew(client):
    me = client()
    parts = parts_of(me.layout)
    parts["B"][:] = 0  # as in round 1: the tail's size is zero, and cannot shrink
    got = answer(me, hetlora(me.layout, 1, 4, keep=0.5, penalty=50.0), parts)
    assert got.slots.tolist() == list(range(me.layout.slots))
    assert ClientState("f", 0).load(me.layout, 2).notes["rank"] == "4"


def test_the_penalty_is_the_product_of_the_tail_s_norms(client):
    """One step of plain descent at a rate of one moves the tail by the data's gradient and the penalty's."""
    me = client({"train.optimizer": "sgd", "train.lr": 1.0, "train.lr-ratio": 1.0, "train.steps": 1})
    layout, parts = me.layout, parts_of(me.layout)
    results = {}
    for penalty in (0.0, 0.5):
        plan = hetlora(layout, 1, 4, keep=0.5, penalty=penalty)
        train_round(me, content(me, plan, parts))
        results[penalty] = {part: net_of(me).get(part) for part in BOTH}
    tail = layout.first(4)[layout.first(4) % 4 >= 2]
    where = {part: layout.positions(part, tail) for part in BOTH}
    norm = {part: np.linalg.norm(parts[part][where[part]].astype(np.float64)) for part in BOTH}
    for part, other in (("A", "B"), ("B", "A")):
        moved = results[0.0][part] - results[0.5][part]
        # d(λ‖B‖‖A‖)/dA = λ ‖B‖ A / ‖A‖, and nothing outside the tail.
        wanted = np.zeros_like(moved)
        wanted[where[part]] = 0.5 * norm[other] * parts[part][where[part]] / norm[part]
        assert np.abs(moved - wanted).max() < 1e-5


def test_a_rank_that_changed_in_the_configuration_is_named(client):
    parts = parts_of(client().layout)
    plan = Plan(2, "f", BOTH, BOTH, BOTH, slots=(0, 4, 8, 12), rank=4.0)
    for rank, words in ((2.0, "is 2, it joined this run with 4"), (None, "is none, it joined this run with 4")):
        me = client(rank=rank)
        with pytest.raises(BractError, match=f"client 0: rank in its node's configuration {words}; set it back"):
            train_round(me, content(me, plan, parts))
        with pytest.raises(BractError, match=words):
            evaluate(me, content(me, plan, parts))
    train_round(client(rank=4.0), content(client(rank=4.0), plan, parts))


@pytest.mark.parametrize("rank", ["4", 0, -1, True, 10**6])
def test_a_bad_rank_in_the_configuration_is_named(config, rank):
    context = Context(1, 2, {"partition-id": 0, "num-partitions": 3, "rank": rank}, RecordDict(), config())
    with pytest.raises(BractError, match="in the node's configuration should be a number above 0 up to 4096"):
        Client.of(context)


def test_state_of_another_layout_is_named_and_stays(client):
    me = client({"lora.rank": 2})
    state = ClientState("f", 0)
    other = client().layout
    state.save(other, 1, Kept({"B": np.ones(other.size("B"), np.float32)}))
    plan = Plan(2, "f", BOTH, ("A",), ("A",), ("B",))
    with pytest.raises(BractError, match=f"local state .* belongs to layout {other.fingerprint.hex()}, this run has"):
        train_round(me, content(me, plan, parts_of(me.layout)))
    assert (state.load(other, 2).parts["B"] == 1).all()


def test_a_personal_phase_that_the_settings_do_not_have_is_refused(client):
    """It trains unprotected, and the statement and the model's card speak of it by the settings alone."""
    me = client({"rounds": 1, "strategy.name": "fedsa", "strategy.personal-steps": 3})
    plan = Plan(1, "f", (), (), ("A",), ("B", "head"), do=(PersonalPhase(4),))
    with pytest.raises(BractError, match="asks for a personal phase of 4 steps, strategy.personal-steps is 3"):
        evaluate(me, content(me, plan, parts_of(me.layout)))


@dataclass(frozen=True)
class Greedy(Directive):
    """Probes twice for what it said that it takes once."""

    name = "greedy"
    reads = "noisy"

    def steps(self, train, epoch):
        return 2

    def select(self, layout, scope, before, slots, probe):
        probe(gradients=False)
        probe(gradients=False)
        return Selection(slots)


def test_no_directive_trains_beyond_what_was_charged(client, monkeypatch):
    monkeypatch.setitem(registry.DIRECTIVES, "greedy", Greedy)
    me = client({"privacy.unit": "example", "privacy.delta": 1e-3, "privacy.epsilon": 50.0, "train.steps": 1})
    plan = Plan(1, "f", ("B",), ("B",), ("B",), do=(Greedy(),))
    reply = train_round(me, content(me, plan, parts_of(me.layout)))
    assert "2 more steps would be beyond the 3 that were charged" in str(reply[REPORT]["reason"])
    assert PAYLOAD not in reply
