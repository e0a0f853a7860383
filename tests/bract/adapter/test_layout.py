import numpy as np
import pytest

from bract.adapter.initial import draw, uniform
from bract.adapter.layout import Layout, Module, Tensor
from bract.errors import BractError

LAYOUT = Layout((Module("q", 3, 2), Module("v", 4, 5)), rank=2, head=(Tensor("w", (2, 3)), Tensor("b", (2,))))


def test_slots_are_contiguous_rows():
    assert LAYOUT.slots == 4
    assert LAYOUT.widths("A").tolist() == [3, 3, 4, 4]
    assert LAYOUT.widths("B").tolist() == [2, 2, 5, 5]
    assert LAYOUT.widths("head").tolist() == [3, 3, 2]
    assert LAYOUT.size("A") == 14
    assert LAYOUT.size("B", np.array([1, 2])) == 7
    assert LAYOUT.positions("A", np.array([1, 3])).tolist() == [3, 4, 5, 10, 11, 12, 13]


def test_matrices_are_views_in_order():
    vector = np.arange(14, dtype=np.float32)
    q, v = LAYOUT.matrices("A", vector)
    assert q.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert v.shape == (2, 4)
    q[0, 0] = 9
    assert vector[0] == 9


def test_fingerprint_tells_any_difference():
    others = [
        Layout((Module("q", 3, 2), Module("v", 4, 5)), 3, LAYOUT.head),
        Layout((Module("v", 4, 5), Module("q", 3, 2)), 2, LAYOUT.head),
        Layout((Module("q", 3, 2), Module("k", 4, 5)), 2, LAYOUT.head),
        Layout(LAYOUT.modules, 2),
        Layout(LAYOUT.modules, 2, LAYOUT.head, "rslora"),
    ]
    assert len({LAYOUT.fingerprint, *(o.fingerprint for o in others)}) == 6
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT


GOOD = {"variant": "lora", "rank": 1, "modules": [["q", 1, 1]], "head": []}


@pytest.mark.parametrize(
    "bad",
    [
        {"rank": 2, "modules": [["q", 1]]},
        {"rank": 0},
        {"modules": []},
        {"modules": [["q", 1, 1 << 30]]},
        {"variant": "dora"},
        {"variant": []},
        {"rank": None},
    ],
)
def test_a_malformed_layout_is_refused(bad):
    with pytest.raises(BractError, match="not an adapter layout"):
        Layout.from_json({**GOOD, **bad})
    assert Layout.from_json(GOOD).rank == 1
    with pytest.raises(BractError, match="not an adapter layout"):
        Layout.from_json({})


def test_the_first_values_are_the_same_bits_everywhere():
    # Literal values: they must never change, on any machine or NumPy, or a frozen A is no longer common.
    assert uniform(7, "q.A", 4, 0.5).tolist() == [
        -0.016446948051452637,
        0.36740028858184814,
        -0.4445505738258362,
        0.4198485016822815,
    ]
    parts = draw(LAYOUT, seed=7, pooled=True)
    assert parts["B"].tolist() == [0.0] * 14
    assert np.abs(parts["A"][:6]).max() <= 1 / np.sqrt(3)
    assert parts["head"][6:].tolist() == [0, 0]
    assert (draw(LAYOUT, seed=7, pooled=True)["A"] == parts["A"]).all()
    assert (draw(LAYOUT, seed=8, pooled=True)["A"] != parts["A"]).all()


def test_slots_are_cut_out_and_put_back():
    assert LAYOUT.first(1).tolist() == [0, 2]
    assert LAYOUT.first(2).tolist() == [0, 1, 2, 3]
    a = np.arange(1, LAYOUT.size("A") + 1, dtype=np.float32)  # q has rows of three, v of four
    slots = np.array([1, 2])
    assert LAYOUT.cut("A", a, slots).tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert LAYOUT.whole("A", LAYOUT.cut("A", a, slots), slots).tolist() == [0, 0, 0, *range(4, 11), 0, 0, 0, 0]
    assert LAYOUT.cut("A", a, None) is a
    head = np.ones(LAYOUT.size("head"), np.float32)
    assert LAYOUT.cut("head", head, slots) is head
    assert LAYOUT.whole("head", head, slots) is head


def test_veras_vectors_are_slots_of_their_own():
    vera = Layout((Module("q", 16, 3), Module("v", 16, 5)), 1, (), "vera")  # r = 16
    assert (vera.slots, vera.size("A"), vera.size("B")) == (2, 32, 8)
    parts = draw(vera, seed=0, pooled=True)
    assert set(parts["A"].tolist()) == {np.float32(0.1).item()}
    assert not parts["B"].any()


def test_the_first_values_are_uniform():
    drawn = uniform(0, "x", 100_000, 2.0)
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 2 / np.sqrt(3)) < 0.01
    assert np.abs(drawn).max() <= 2
