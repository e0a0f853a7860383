"""LoRA-A2's server: alternation, budgets, and changes of selected slots."""

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module
from bract.directives.select import Select
from bract.settings.schema import StrategySettings
from bract.tasks.classification import CLASSIFICATION
from bract.wire.payload import Payload, pack
from strategies import Federation, Member, create
from tests.strategies.exchange import PAIR, PAIR_A, PAIR_B, federation, merged, products, reply, sent

PARTS = {"A": PAIR_A, "B": PAIR_B}


def with_budgets(layout, *ranks, **choices):
    members = tuple(Member(i, 10 + i, None, rank) for i, rank in enumerate(ranks))
    return create(
        "lora-a2", Federation(layout, members, "f", task=CLASSIFICATION, strategy=StrategySettings(**choices))
    )


def test_the_plan_is_the_round_s_factor_and_the_client_s_budget():
    strategy = with_budgets(PAIR, 0.5, 1, 2)
    plans = [strategy.plan(1, member) for member in strategy.federation.members]
    assert [plan.do for plan in plans] == [(Select(1),), (Select(2),), (Select(4),)]  # ranks x 2 modules
    assert all((p.trains, p.sends, p.slots, p.changes) == (("B",), ("B",), None, True) for p in plans)
    even = strategy.plan(2, strategy.federation.members[0])
    assert (even.trains, even.receives) == (("A",), ("A", "B"))
    third = with_budgets(Layout(tuple(Module(str(i), 1, 1) for i in range(12)), 2), 1 / 3)
    assert third.plan(1, third.federation.members[0]).do == (Select(4),)


# Weights 1, 1, 2. Changes of B: m has one value a slot, n has two.
#   client 0   slot 0: +4
#   client 1   slot 0: +8    slot 2: +4, +8
#   client 2   slot 2: -2, 0 slot 3: +2, +4
# PAIR_B = 1 | 1 | 1 0 | 0 1
SENT = [([0], [4]), ([0, 2], [8, 4, 8]), ([2, 3], [-2, 0, 2, 4])]


@pytest.mark.parametrize(
    ("divide", "wanted"),
    [
        # Slot 0: (4 + 8) / 4 = 3. Slot 1: nobody. Slot 2: (4 - 4) / 4, 8 / 4. Slot 3: 2 * (2, 4) / 4.
        ("all", [4, 1, 1, 2, 1, 3]),
        # Slot 0: 12 / 2 = 6. Slot 2: 0 / 3, 8 / 3. Slot 3: (2, 4).
        ("selected", [7, 1, 1, 8 / 3, 2, 5]),
    ],
)
def test_the_merge_by_hand(divide, wanted):
    strategy = with_budgets(PAIR, 0.5, 1, 1, divide=divide)
    messages = sent(strategy, 1, PARTS)
    replies = [
        reply(m, PAIR, examples=n, slots=slots, B=change)
        for m, n, (slots, change) in zip(messages, (1, 1, 2), SENT, strict=True)
    ]
    found = merged(strategy, replies)
    assert np.allclose(found["B"], wanted, atol=1e-6)
    assert found["A"].tolist() == PAIR_A.tolist()
    assert [row.rank for row in strategy.rows] == [0.5, 1.0, 1.0]
    assert strategy.diagnostics["slots"] == [[0], [0, 2], [2, 3]]
    # Jaccard: 1 of 2; none of 3; 1 of 3.
    assert strategy.diagnostics["slot_overlap"] == [[1.0, 0.5, 0.0], [0.5, 1.0, 0.3333], [0.0, 0.3333, 1.0]]


@pytest.mark.parametrize("round_", [1, 2])
def test_the_mean_is_exact_with_partial_slots(round_):
    layout = Layout((Module("q", 12, 7), Module("v", 5, 9)), rank=3)
    rng = np.random.default_rng(round_)
    parts = {p: rng.normal(size=layout.size(p)).astype(np.float32) for p in ("A", "B")}
    part = "B" if round_ == 1 else "A"
    strategy = with_budgets(layout, 1, 2, 3)
    weights, learned, replies = (3, 5, 9), [], []
    for message, n, count in zip(sent(strategy, round_, parts), weights, (2, 4, 6), strict=True):
        slots = np.sort(rng.permutation(layout.slots)[:count])
        change = rng.normal(size=layout.size(part, slots)).astype(np.float32)
        learned.append({**parts, part: parts[part] + layout.whole(part, change, slots)})
        replies.append(reply(message, layout, examples=n, slots=slots, **{part: change}))
    found = products(merged(strategy, replies, round_), layout)
    wanted = sum(n * products(p, layout) for n, p in zip(weights, learned, strict=True)) / sum(weights)
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("slots", [None, [0], [0, 1, 2]])
def test_more_or_fewer_slots_than_the_budget_are_refused(slots):
    strategy = with_budgets(PAIR, 1, 1)
    good, bad = sent(strategy, 1, PARTS)
    index = None if slots is None else np.array(slots)
    data = pack(PAIR, Payload(1, {"B": np.zeros(PAIR.size("B", index), np.float32)}, index))
    found = merged(strategy, [reply(good, PAIR, slots=[0, 1], B=[1, 1]), reply(bad, PAIR, payload=data)])
    assert found["B"].tolist() == [2, 2, 1, 0, 0, 1]
    assert "slots are not those of the plan" in strategy.rows[1].reason


def test_norm_weights_are_of_what_was_learned():
    # Changes of slot 0 alone: 3 * (3, 4) and 1 * (3, 4), of norms 15 and 5: weights 3 : 1.
    strategy = with_budgets(PAIR, 0.5, 0.5, weights="norm")
    one, two = sent(strategy, 1, PARTS)
    found = merged(strategy, [reply(one, PAIR, slots=[0], B=[3]), reply(two, PAIR, slots=[0], B=[1])])
    assert np.allclose(found["B"], [1 + (3 * 3 + 1 * 1) / 4, 1, 1, 0, 0, 1])


def test_the_whole_federation_default_is_b_in_odd_rounds():
    assert create("lora-a2", federation(PAIR)).plan(3, Member(0, 1, None, 1)).trains == ("B",)


def test_slots_chosen_by_what_was_released_cost_no_probe_and_begin_with_all():
    strategy = with_budgets(PAIR, 0.5, 1, score="released")
    first, second = (strategy.plan(round_, strategy.federation.members[1]) for round_ in (1, 2))
    assert (first.do, first.changes, first.trains) == ((), True, ("B",))
    assert second.do == (Select(2, "released"),)
    assert not second.do[0].probes
    sent(strategy, 2, {"A": PAIR_A, "B": np.zeros_like(PAIR_B)})  # all abstained in round 1
    assert strategy.plan(2, strategy.federation.members[1]).do == ()
    sent(strategy, 3, PARTS)
    assert strategy.plan(3, strategy.federation.members[1]).do == (Select(2, "released"),)
