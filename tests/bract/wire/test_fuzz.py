"""What others send, mutated: one line of error or a right answer; never a crash, a hang, or a large allocation."""

import json
import random
import resource
import time
from itertools import chain

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from bract.adapter.layout import PARTS, Layout, Module, Tensor
from bract.directives.prune import Prune
from bract.directives.select import Select
from bract.errors import BractError
from bract.settings.declared import declared
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.wire.codec import CODECS
from bract.wire.messages import PAYLOAD, PRIVACY, get_payload, payload_record, privacy_spending
from bract.wire.payload import HEADER, Payload, pack, unpack
from bract.wire.plan import KEY, Plan

LAYOUT = Layout((Module("q", 3, 2), Module("v", 4, 5)), rank=3, head=(Tensor("w", (2, 3)), Tensor("b", (2,))))
SLOWEST, GROWTH = 1.0, 64 << 10  # seconds for one input on a busy machine; kB of the process's peak


@pytest.fixture(autouse=True)
def bounded():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


def refused(call, *arguments, **named):
    """Whether the call refuses its input in Bract's own words; its answer otherwise."""
    start = time.perf_counter()
    try:
        return False, call(*arguments, **named)
    except BractError:
        return True, None
    finally:
        assert time.perf_counter() - start < SLOWEST


def mutated(data, rng):
    """Some bytes changed, cut, doubled, or put in the place of others."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del data[at : at + rng.choice((1, 4, 64))]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif kind == 4:
            data[at:at] = data[at : at + 32]
        else:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\xc0\x7f", bytes(4)))
    return bytes(data)


def sent():
    """Payloads of every codec, whole and partial."""
    rng = np.random.default_rng(0)
    for codec in CODECS:
        for slots in (None, np.array([0, 4])):
            for parts in (("A",), ("B", "head"), ("A", "B", "head")):
                vectors = {p: rng.normal(size=LAYOUT.size(p, slots)).astype(np.float32) for p in parts}
                yield parts, pack(LAYOUT, Payload(3, vectors, slots), codec, rng)


def right(found, parts):
    """A payload that was let through is one of this layout."""
    assert set(found.parts) == set(parts)
    assert found.round == 3
    assert found.slots is None or set(found.slots.tolist()) <= set(range(LAYOUT.slots))
    for part, vector in found.parts.items():
        assert vector.dtype == np.float32
        assert vector.shape == (LAYOUT.size(part, found.slots),)
        assert np.isfinite(vector).all()


def test_payloads():
    """Their bytes, their header alone, and the array's own header that Flower carries."""
    rng, taken, count = random.Random(0), 0, 0
    seeds = list(sent())
    for number in range(60_000):
        parts, data = seeds[number % len(seeds)]
        raw = data.tobytes()
        cut = len(raw) if number % 3 else HEADER.size + 1
        raw = mutated(raw[:cut], rng) + raw[cut:]
        no, found = refused(unpack, LAYOUT, np.frombuffer(raw, np.uint8), round=3, parts=parts)
        count += 1
        if not no:
            taken += 1
            right(found, parts)
    for number in range(20_000):
        parts, data = seeds[number % len(seeds)]
        array = payload_record(data)[PAYLOAD]
        array = Array("uint8", array.shape, array.stype, mutated(array.data, rng))
        content = RecordDict({PAYLOAD: ArrayRecord({PAYLOAD: array})})
        no, found = refused(
            lambda content=content, parts=parts: unpack(LAYOUT, get_payload(content), round=3, parts=parts)
        )
        count += 1
        if not no:
            taken += 1
            right(found, parts)
    assert count == 80_000
    assert 0 < taken < count  # values may be any finite numbers, so some get through


def test_plans_and_privacy_spending():
    rng = random.Random(1)
    plans = [
        Plan(1, "f1", ("B",), ("B",), ("B",)),
        Plan(2, "f1", ("A",), ("A",), ("A", "B"), slots=(0, 2, 5), do=(Select(2),), changes=True),
        Plan(3, "f1", ("A", "B"), ("A", "B"), ("A", "B"), slots=(0, 3), do=(Prune(0.9, 0.1),), rank=2.0, joined=1),
    ]
    numbers = {"epsilon": 1.5, "sigma": 2.0, "sample_rate": 0.1, "steps": 5, "rounds": 1, "limit": None}
    line = json.dumps({**numbers, "uses": [[2.0, 0.1, 5]]})
    for number in range(10_000):
        text = mutated(str(plans[number % 3].to_record()[KEY]).encode(), rng).decode("utf-8", "replace")
        no, plan = refused(Plan.from_record, {KEY: text}, LAYOUT.slots)
        if not no:
            assert set(plan.sends) <= set(PARTS)
            assert not set(plan.sends) & set(plan.keeps)
            assert plan.slots is None or all(0 <= slot < LAYOUT.slots for slot in plan.slots)
        text = mutated(line.encode(), rng).decode("utf-8", "replace")
        no, found = refused(privacy_spending, RecordDict({PRIVACY: ConfigRecord({"line": text})}))
        if not no:
            numbers = [found.epsilon, found.sigma, found.sample_rate, found.steps, found.rounds, found.limit]
            assert all(value is None or 0 <= value < 1e12 for value in (*numbers, *chain(*found.uses)))
            assert None not in numbers[1:5]


def odd(rng, was):
    """A value that somebody might have typed, or sent."""
    texts = (
        "",
        " ",
        "auto",
        "-1",
        "1e999",
        "nan",
        "\x00",
        "\n",
        "𝔷" * 9,
        "/",
        "file:",
        "file:/",
        "hub:",
        "dirichlet:0",
        "dirichlet:1e-320",
        "pathological:99999999999",
        "natural:",
        "uniform",
        "../..",
        "x" * 10_000,
    )
    numbers = (0, -1, 1, 2**31, 2**63, -(2**63), 10**40, 0.0, -0.0, 1e-320, 1e308, float("inf"), float("nan"), True)
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(texts)
    if kind == 1:
        return rng.choice(numbers)
    if kind == 2:
        return rng.choice((None, [], {}, b"", (1,), 1j, object()))
    return mutated(str(was).encode(), rng).decode("utf-8", "replace")


def test_settings():
    rng, keys, defaults, taken = random.Random(2), list(declared()), Settings().flat(), 0
    for _ in range(20_000):
        values = {}
        for _ in range(rng.choice((1, 1, 2, 3))):
            key = rng.choice(keys)
            values[key] = odd(rng, defaults[key])
        if not rng.randrange(10):
            values[mutated(rng.choice(keys).encode(), rng).decode("utf-8", "replace")] = 1
        no, found = refused(read, values)
        if not no:
            taken += 1
            assert read(found.flat()) == found  # what is taken is what is written down
    assert taken > 100
