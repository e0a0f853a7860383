"""HetLoRA's server: truncation, padding, norm weights, ranks that only shrink."""

import numpy as np
import pytest

from bract.directives.prune import Prune
from bract.settings.schema import StrategySettings
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import PLAN, get_payload
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan
from strategies import Federation, Member, create
from strategies.aggregation import product_norm
from tests.strategies.exchange import PAIR, PAIR_A, PAIR_B, merged, reply, sent

PARTS = {"A": PAIR_A, "B": PAIR_B}


def with_ranks(*ranks, **choices):
    members = tuple(Member(i, 10 + i, None, rank) for i, rank in enumerate(ranks))
    return create("hetlora", Federation(PAIR, members, "f", task=CLASSIFICATION, strategy=StrategySettings(**choices)))


def test_a_client_gets_the_first_ranks_of_every_module():
    strategy = with_ranks(1, 2, 1, gamma=0.5, penalty=0.1)
    messages = sent(strategy, 1, PARTS)
    plan = Plan.from_record(messages[0].content[PLAN], 4)
    assert plan.slots == (0, 2)
    assert plan.do == (Prune(0.5, 0.1, 1),)
    down = unpack(PAIR, get_payload(messages[0].content), round=1, parts=("A", "B"))
    assert down.parts["A"].tolist() == [3, 4, 2]
    assert down.parts["B"].tolist() == [1, 1, 0]
    assert Plan.from_record(messages[1].content[PLAN], 4).slots == (0, 1, 2, 3)
    assert strategy.rows == []


def test_the_norm_of_a_product_by_hand():
    # m: B A = 1*(3, 4) + 1*(0, 1) = (3, 5). n: (1, 0)*2 + (0, 1)*1 = (2, 1). Squares: 34 + 5.
    assert product_norm(PAIR, PAIR_A, PAIR_B) == pytest.approx(39**0.5, abs=1e-12)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6).astype(np.float32), rng.normal(size=6).astype(np.float32)
    from tests.strategies.exchange import products

    assert product_norm(PAIR, a, b) == pytest.approx(np.linalg.norm(products({"A": a, "B": b}, PAIR)), rel=1e-6)


# Client 0, rank 1: m: 1 * (3, 4), n: 0.  Norm 5.  Examples must not matter.
# Client 1, rank 2: m: (0, 0) + 3 * (0, 5) = (0, 15), n: 0.  Norm 15.
# Client 2, rank 1: nothing learned.  Norm 0.
SENT = [
    ([0, 2], {"A": [3, 4, 2], "B": [1, 0, 0]}),
    (None, {"A": [3, 4, 0, 5, 2, 1], "B": [0, 3, 0, 0, 0, 0]}),
    ([0, 2], {"A": [3, 4, 2], "B": [0, 0, 0]}),
]


def replies_to(messages, sent_=SENT):
    found = []
    for i, (message, (slots, parts)) in enumerate(zip(messages, sent_, strict=True)):
        slots = list(range(4)) if slots is None else slots
        found.append(reply(message, PAIR, examples=10**i, slots=slots, **parts))
    return found


def test_the_merge_by_hand():
    strategy = with_ranks(1, 2, 1)
    found = merged(strategy, replies_to(sent(strategy, 1, PARTS)))
    # Weights 1/4, 3/4, 0; what client 0 does not carry counts as zero.
    assert np.allclose(found["A"], [3, 4, 0, 3.75, 2, 0.75], atol=1e-6)
    assert np.allclose(found["B"], [0.25, 2.25, 0, 0, 0, 0], atol=1e-6)
    assert [row.rank for row in strategy.rows] == [1, 2, 1]


def test_where_nobody_learned_anything_all_weigh_the_same():
    strategy = with_ranks(2, 2, 2)
    zero = [(None, {"A": [v] * 6, "B": [0] * 6}) for v in (3, 6, 9)]
    found = merged(strategy, replies_to(sent(strategy, 1, PARTS), zero))
    assert np.allclose(found["A"], 6, rtol=1e-5)
    assert found["B"].tolist() == [0] * 6


def test_a_rank_that_was_pruned_stays_pruned_also_after_a_restart():
    strategy = with_ranks(2, 2, 2)
    pruned = [([0, 2], {"A": [3, 4, 2], "B": [1, 0, 0]}), (None, SENT[1][1]), (None, SENT[1][1])]
    after = merged(strategy, replies_to(sent(strategy, 1, PARTS), pruned))
    plans = [Plan.from_record(m.content[PLAN], 4) for m in sent(strategy, 2, after)]
    assert [plan.slots for plan in plans] == [(0, 2), (0, 1, 2, 3), (0, 1, 2, 3)]
    again = with_ranks(2, 2, 2)
    again.recall(strategy.memory())
    assert again.plan(2, again.federation.members[0]).slots == (0, 2)
    # And none that grows again is believed.
    replies = replies_to(sent(strategy, 2, after), [(None, SENT[1][1])] * 3)
    merged(strategy, replies, 2)
    assert strategy.rows[0].status == "refused"
    assert "slots are not those of the plan" in strategy.rows[0].reason


@pytest.mark.parametrize("slots", [None, [0], [1, 3], [0, 1], [2, 3]])
def test_other_slots_than_the_first_ranks_are_refused(slots):
    strategy = with_ranks(2, 2)
    good, bad = sent(strategy, 1, PARTS)
    index = None if slots is None else np.array(slots)
    parts = {p: np.ones(PAIR.size(p, index), np.float32) for p in ("A", "B")}
    merged(strategy, [replies_to([good], [SENT[1]])[0], reply(bad, PAIR, payload=pack(PAIR, Payload(1, parts, index)))])
    assert [row.status for row in strategy.rows] == ["merged", "refused"]


def test_no_client_is_believed_below_the_least_rank():
    strategy = with_ranks(2, 2, min_rank=2)
    merged(strategy, replies_to(sent(strategy, 1, PARTS), [SENT[1], SENT[0]]))
    assert [row.status for row in strategy.rows] == ["merged", "refused"]
