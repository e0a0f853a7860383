"""FlexLoRA: the best factors of the mean product, without forming it."""

import itertools

import numpy as np
import pytest

from bract.adapter.initial import draw
from bract.adapter.layout import Layout, Module
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import get_payload
from bract.wire.payload import unpack
from strategies import Federation, Member, create
from strategies.flexlora import refactor
from tests.strategies.exchange import PAIR, PAIR_A, PAIR_B, federation, merged, products, reply, sent

PARTS = {"A": PAIR_A, "B": PAIR_B}


def test_the_merge_by_hand():
    # Module m (1 x 2), weights 1, 1, 2: products (4, 0), (0, 4) and (1, 1); their mean is (1.5, 1.5).
    # Module n (2 x 1): (2, 0)', (0, 2)' and 0; mean (0.5, 0.5)'.
    a = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0]
    b = [4, 0, 2, 0, 0, 0], [4, 0, 0, 0, 0, 2], [1, 0, 0, 0, 0, 0]
    flexlora = create("flexlora", federation(PAIR, clients=3))
    messages = sent(flexlora, 1, PARTS)
    replies = [reply(m, PAIR, examples=n, A=x, B=y) for m, n, x, y in zip(messages, (1, 1, 2), a, b, strict=True)]
    found = merged(flexlora, replies)
    half = 0.5**0.5
    first = draw(PAIR, 0, pooled=False)["A"]
    # One rank holds it all: A of length one, the size in B. The other can still learn: its A is the first draw, B = 0.
    assert np.allclose(found["A"], [half, half, *first[2:4], 1.0, first[5]], atol=1e-6)
    assert np.allclose(found["B"], [1.5 / half, 0, 0.5, 0.5, 0, 0], atol=1e-6)
    assert np.allclose(products(found, PAIR), [1.5, 1.5, 0.5, 0.5], atol=1e-6)


def test_it_is_the_best_approximation_of_the_mean_product():
    layout = Layout((Module("q", 12, 7), Module("v", 5, 9)), rank=3)
    rng = np.random.default_rng(0)
    clients = [{p: rng.normal(size=layout.size(p)).astype(np.float32) for p in ("A", "B")} for _ in range(4)]
    flexlora = create("flexlora", federation(layout, clients=4))
    weights = (1, 2, 3, 4)
    replies = [
        reply(m, layout, examples=n, **c)
        for m, n, c in zip(sent(flexlora, 1, clients[0]), weights, clients, strict=True)
    ]
    found = merged(flexlora, replies)
    for m in range(2):

        def dense(parts, m=m):
            return layout.matrices("B", parts["B"])[m].T.astype(np.float64) @ layout.matrices("A", parts["A"])[m]

        mean = sum(n * dense(c) for n, c in zip(weights, clients, strict=True)) / 10
        u, s, vt = np.linalg.svd(mean)
        best = (u[:, :3] * s[:3]) @ vt[:3]
        assert s[3] > 0.1  # something is cut off
        assert np.abs(dense(found) - best).max() < 1e-5


def test_unequal_ranks_and_what_goes_down():
    members = (Member(0, 10, None, 1), Member(1, 11, None, 2))
    flexlora = create("flexlora", Federation(PAIR, members, "f", task=CLASSIFICATION))
    messages = sent(flexlora, 1, PARTS)
    down = unpack(PAIR, get_payload(messages[0].content), round=1, parts=("A", "B"))
    assert down.slots.tolist() == [0, 2]
    assert unpack(PAIR, get_payload(messages[1].content), round=1, parts=("A", "B")).slots is None
    replies = [
        reply(messages[0], PAIR, slots=[0, 2], A=[1, 0, 1], B=[4, 2, 0]),
        reply(messages[1], PAIR, A=[1, 0, 0, 1, 1, 0], B=[0, 4, 0, 2, 0, 0]),
    ]
    found = merged(flexlora, replies)
    assert np.allclose(products(found, PAIR), [2, 2, 1, 1], atol=1e-6)


def test_no_order_of_replies_changes_a_bit():
    rng = np.random.default_rng(0)
    clients = [{p: rng.normal(size=6).astype(np.float32) for p in ("A", "B")} for _ in range(3)]
    results = set()
    for order in itertools.permutations(range(3)):
        flexlora = create("flexlora", federation(PAIR, clients=3))
        messages = sent(flexlora, 1, PARTS)
        found = merged(flexlora, [reply(messages[i], PAIR, examples=i + 1, **clients[i]) for i in order])
        results.add(found["A"].tobytes() + found["B"].tobytes())
    assert len(results) == 1


def test_nothing_of_the_full_size_is_ever_formed():
    """A layer of 20,000 x 20,000 would be 3 GB in float64; its factors of rank 4 are 1.3 MB."""
    import tracemalloc

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(20_000, 12)), rng.normal(size=(12, 20_000))
    tracemalloc.start()
    a, b = refactor(left, right, np.zeros((4, 20_000), np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    rows = rng.integers(0, 20_000, 50)
    u, s, vt = np.linalg.svd(np.linalg.qr(left)[1] @ np.linalg.qr(right.T)[1].T)
    wanted = np.linalg.qr(left)[0][rows] @ (u[:, :4] * s[:4]) @ vt[:4] @ np.linalg.qr(right.T)[0].T[:, rows]
    assert np.allclose(b[rows] @ a[:, rows], wanted)


def test_a_nearly_singular_product_keeps_its_accuracy():
    """Factors whose products nearly cancel: float32 would lose them, float64 does not."""
    rng = np.random.default_rng(0)
    common, small = rng.normal(size=(30, 1)), 1e-6 * rng.normal(size=(30, 1))
    left = np.hstack([common, -(common + small)])
    row = rng.normal(size=(1, 40))
    a, b = refactor(left, np.vstack([row, row]), np.zeros((2, 40), np.float32))
    assert np.allclose(b @ a, -small @ row, rtol=1e-6, atol=1e-13)


def test_nothing_learned_leaves_factors_that_can_learn():
    fresh = np.ones((2, 4), np.float32)
    a, b = refactor(np.zeros((3, 2)), np.ones((2, 4)), fresh)
    assert (a == 1).all()
    assert (b == 0).all()


@pytest.mark.parametrize("value", [1e30])
def test_absurd_values_are_refused(value):
    flexlora = create("flexlora", federation(PAIR))
    one, two = sent(flexlora, 1, PARTS)
    merged(flexlora, [reply(one, PAIR, **PARTS), reply(two, PAIR, A=PAIR_A, B=np.full(6, value))])
    assert [row.status for row in flexlora.rows] == ["merged", "refused"]
