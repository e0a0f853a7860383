import struct

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module, Tensor
from bract.wire.codec import CODECS, encoded_size
from bract.wire.payload import HEADER, Payload, PayloadError, pack, unpack

LAYOUT = Layout((Module("q", 3, 2), Module("v", 4, 5)), rank=2, head=(Tensor("w", (2, 3)), Tensor("b", (2,))))
RNG = np.random.default_rng(0)


def payload(*parts, slots=None, round_=3):
    vectors = {p: RNG.normal(size=LAYOUT.size(p, slots)).astype(np.float32) for p in parts}
    return Payload(round_, vectors, slots)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("slots", [None, np.array([0, 3]), np.zeros(0, dtype=np.int64)])
@pytest.mark.parametrize("parts", [("A",), ("B",), ("A", "B", "head"), ("head",), ()])
def test_what_is_packed_is_unpacked(codec, slots, parts):
    sent = payload(*parts, slots=slots)
    data = pack(LAYOUT, sent, codec, np.random.default_rng(1))
    got = unpack(LAYOUT, data, round=3, parts=parts)
    assert list(got.parts) == list(parts)
    assert (got.slots is None) == (slots is None)
    if slots is not None:
        assert got.slots.tolist() == slots.tolist()
    for part in parts:
        scale = np.abs(sent.parts[part]).max(initial=0)
        tolerance = {"float32": 0, "float16": scale * 2**-10, "int8": scale / 127}[codec]
        assert np.abs(got.parts[part] - sent.parts[part]).max(initial=0) <= tolerance


def test_the_size_is_the_header_and_the_values():
    data = pack(LAYOUT, payload("A", "B"))
    assert len(data) == HEADER.size + 4 * (14 + 14)
    partial = pack(LAYOUT, payload("B", slots=np.array([2])))
    assert len(partial) == HEADER.size + 1 + 4 * 5
    assert encoded_size("int8", LAYOUT.widths("B")) == 14 + 4 * 4


def test_int8_rounds_without_bias():
    values = np.full(4, 0.3, dtype=np.float32)
    values[0] = 1.0
    layout = Layout((Module("q", 4, 1),), rank=1)
    rng = np.random.default_rng(0)
    mean = np.mean(
        [
            unpack(layout, pack(layout, Payload(0, {"A": values}), "int8", rng), round=0, parts=("A",)).parts["A"]
            for _ in range(2000)
        ],
        axis=0,
    )
    assert np.abs(mean - values).max() < 1e-3


def test_float16_is_cut_at_its_largest_value():
    layout = Layout((Module("q", 2, 1),), rank=1)
    data = pack(layout, Payload(0, {"A": np.array([1e9, -1e9], np.float32)}), "float16")
    assert unpack(layout, data, round=0, parts=("A",)).parts["A"].tolist() == [65504, -65504]


def _changed(data, offset, value):
    changed = data.copy()
    changed[offset] = value
    return changed


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: d[:10], "shorter than a header"),
        (lambda d: _changed(d, 0, 0), "mark"),
        (lambda d: _changed(d, 4, 9), "format 9"),
        (lambda d: _changed(d, 5, 77), "codec 77"),
        (lambda d: _changed(d, 6, 1), "parts"),
        (lambda d: _changed(d, 6, 255), "parts"),
        (lambda d: _changed(d, 7, 8), "flags"),
        (lambda d: _changed(d, 7, 1), "bytes, the header promises|slots"),
        (lambda d: _changed(d, 8, 4), "round 4, this is round 3"),
        (lambda d: _changed(d, 14, d[14] ^ 1), "layout"),
        (lambda d: d[:-1], "promises"),
        (lambda d: np.concatenate([d, d]), "promises"),
        (
            lambda d: np.concatenate([d[:-4], np.frombuffer(struct.pack("<f", np.nan), np.uint8)]),
            "not finite",
        ),
        (
            lambda d: np.concatenate([d[:-4], np.frombuffer(struct.pack("<f", np.inf), np.uint8)]),
            "not finite",
        ),
        (lambda d: d.astype(np.float32), "not a row of bytes"),
        (lambda d: d.reshape(2, -1), "not a row of bytes"),
    ],
)
def test_a_bad_payload_is_refused_by_name(spoil, words):
    data = pack(LAYOUT, payload("A", "B"))
    with pytest.raises(PayloadError, match=words):
        unpack(LAYOUT, spoil(data), round=3, parts=("A", "B"))


def test_slots_beyond_the_layout_are_refused():
    layout = Layout((Module("q", 3, 2),), rank=3)
    data = pack(layout, Payload(0, {"B": np.ones(2, np.float32)}, np.array([0])))
    with pytest.raises(PayloadError, match="does not have"):
        unpack(layout, _changed(data, HEADER.size, 0b10000001), round=0, parts=("B",))


def test_nothing_that_is_not_finite_is_ever_sent():
    bad = Payload(0, {"A": np.full(14, np.nan, np.float32)})
    with pytest.raises(PayloadError, match="not finite"):
        pack(LAYOUT, bad)


def test_mutated_payloads_never_do_worse_than_an_error():
    rng = np.random.default_rng(0)
    good = [pack(LAYOUT, payload("A", "head", slots=np.array([1, 2])), codec) for codec in CODECS]
    for i in range(3000):
        data = good[i % 3].copy()
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        cut = data[: rng.integers(len(data) + 1)] if i % 5 == 0 else data
        try:
            got = unpack(LAYOUT, cut, round=3, parts=("A", "head"))
        except PayloadError:
            continue
        assert all(np.isfinite(v).all() for v in got.parts.values())
