"""RoLoRA: B in odd rounds, A in even ones, and an exact mean."""

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module, Tensor
from bract.wire.messages import get_payload
from bract.wire.payload import Payload, unpack
from strategies import Member, create
from tests.strategies.exchange import PAIR, PAIR_A, PAIR_B, federation, merged, products, reply, sent

PARTS = {"A": PAIR_A, "B": PAIR_B}


def test_the_factors_take_turns():
    rolora = create("rolora", federation(PAIR))
    plans = [rolora.plan(round_, Member(0, 10)) for round_ in (1, 2, 3, 4)]
    assert [plan.trains for plan in plans] == [("B",), ("A",), ("B",), ("A",)]
    assert all(plan.sends == plan.trains for plan in plans)
    # In round 1 A is the draw from the seed; later both may have changed since a client last saw them.
    assert [plan.receives for plan in plans] == [("B",), ("A", "B"), ("A", "B"), ("A", "B")]


def test_each_round_by_hand():
    # Weights 1, 1, 2. Round 1: the mean of the three B's; A stays.
    rolora = create("rolora", federation(PAIR, clients=3))
    b = [[4, 0, 4, 0, 0, 0], [0, 8, 0, 4, 0, 0], [2, 0, 0, 0, 6, 2]]
    replies = [reply(m, PAIR, examples=n, B=v) for m, n, v in zip(sent(rolora, 1, PARTS), (1, 1, 2), b, strict=True)]
    found = merged(rolora, replies)
    assert found["B"].tolist() == [2, 2, 1, 1, 3, 1]  # such as (4 + 0 + 2*2) / 4
    assert found["A"].tolist() == PAIR_A.tolist()
    # Round 2: the mean of the A's; B stays.
    a = [[4, 0, 0, 0, 8, 0], [0, 4, 0, 0, 0, 0], [2, 2, 2, 2, 0, 4]]
    replies = [reply(m, PAIR, examples=n, A=v) for m, n, v in zip(sent(rolora, 2, found), (1, 1, 2), a, strict=True)]
    after = merged(rolora, replies, 2)
    assert after["A"].tolist() == [2, 2, 1, 1, 2, 2]
    assert after["B"].tolist() == found["B"].tolist()


@pytest.mark.parametrize("round_", [1, 2])
def test_the_mean_of_the_products_is_the_product_of_the_mean(round_):
    layout = Layout((Module("q", 12, 7), Module("v", 5, 9)), rank=3)
    rng = np.random.default_rng(round_)
    parts = {p: rng.normal(size=layout.size(p)).astype(np.float32) for p in ("A", "B")}
    part = "B" if round_ == 1 else "A"
    learned = [rng.normal(size=layout.size(part)).astype(np.float32) for _ in range(3)]
    rolora = create("rolora", federation(layout, clients=3))
    replies = [
        reply(m, layout, examples=n, **{part: x})
        for m, n, x in zip(sent(rolora, round_, parts), (3, 5, 9), learned, strict=True)
    ]
    found = products(merged(rolora, replies, round_), layout)
    wanted = sum(n * products({**parts, part: x}, layout) for n, x in zip((3, 5, 9), learned, strict=True)) / 17
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(wanted).max() > 1


def test_a_shared_head_trains_in_every_round():
    layout = Layout(PAIR.modules, 2, (Tensor("b", (2,)),))
    rolora = create("rolora", federation(layout, head="shared"))
    assert [rolora.plan(r, Member(0, 1)).trains for r in (1, 2)] == [("B", "head"), ("A", "head")]
    message = sent(rolora, 2, PARTS)[0]
    down = unpack(layout, get_payload(message.content), round=2, parts=("A", "B", "head"))
    assert isinstance(down, Payload)
