"""Each method's rule, with matrices small enough to check by hand."""

from collections.abc import Iterable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from bract.adapter.layout import Layout, Module
from bract.errors import BractError
from bract.settings.schema import StrategySettings
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import METRICS, PAYLOAD, REPORT, get_payload
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan
from strategies import Federation, Member, create
from strategies.federation import to_arrays, to_parts
from tests.flower.messages import stamp
from tests.strategies.exchange import A0, B0, LAYOUT, WITH_HEAD, federation, product, reply, sent


def test_ffa_is_exact_and_fedit_is_not():
    # Client 0 (3 examples) and client 1 (1 example) each learned a B; under FedIT also an A.
    b = [[4.0, 0.0], [0.0, 8.0]]
    a = [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]

    ffa = create("ffa", federation())
    replies = [reply(m, examples=n, B=bk) for m, n, bk in zip(sent(ffa), (3, 1), b, strict=True)]
    merged = to_parts(ffa.aggregate_train(1, replies)[0])
    assert merged["B"].tolist() == [3.0, 2.0]
    assert merged["A"].tolist() == A0.tolist()
    # 3/4 [4 0] A0 + 1/4 [0 8] A0 = [3 6] + [6 8]
    assert product(merged).tolist() == [[9.0, 14.0]]

    fedit = create("fedit", federation())
    replies = [reply(m, examples=n, A=ak, B=bk) for m, n, ak, bk in zip(sent(fedit), (3, 1), a, b, strict=True)]
    merged = to_parts(fedit.aggregate_train(1, replies)[0])
    assert merged["A"].tolist() == [0.75, 0.25, 0.25, 0.75]
    # What was learned: 3/4 [4 0][[1 0][0 1]] + 1/4 [0 8][[0 1][1 0]] = [3 0] + [2 0]
    learned = 0.75 * np.array([[4.0, 0.0]]) + 0.25 * np.array([[8.0, 0.0]])
    assert learned.tolist() == [[5.0, 0.0]]
    # What comes back: [3 2][[.75 .25][.25 .75]]
    assert product(merged).tolist() == [[2.75, 2.25]]


def test_what_travels_is_what_the_method_says():
    ffa, fedit = create("ffa", federation()), create("fedit", federation())
    assert ffa.plan(1, Member(0, 10)) == Plan(1, "f", ("B",), ("B",), ("B",))
    assert fedit.plan(5, Member(0, 10)) == Plan(5, "f", ("A", "B"), ("A", "B"), ("A", "B"))
    down = unpack(LAYOUT, get_payload(sent(ffa)[0].content), round=1, parts=("B",))
    assert down.values == 2


@pytest.mark.parametrize(
    ("head", "trains", "sends", "keeps"),
    [
        ("frozen", ("B",), ("B",), ()),
        ("shared", ("B", "head"), ("B", "head"), ()),
        ("local", ("B", "head"), ("B",), ("head",)),
    ],
)
def test_the_head_is_frozen_shared_or_local(head, trains, sends, keeps):
    plan = create("ffa", federation(WITH_HEAD, head=head)).plan(1, Member(0, 10))
    assert (plan.trains, plan.sends, plan.receives, plan.keeps) == (trains, sends, sends, keeps)


def test_weights_may_be_uniform():
    ffa = create("ffa", federation(strategy=StrategySettings(weights="uniform")))
    replies = [reply(m, examples=n, B=[n, n]) for m, n in zip(sent(ffa), (3, 1), strict=True)]
    assert to_parts(ffa.aggregate_train(1, replies)[0])["B"].tolist() == [2.0, 2.0]


def test_replies_merge_one_by_one_in_any_order():
    ffa = create("ffa", federation(clients=4))
    values = np.random.default_rng(0).normal(size=(4, 2))

    def merged(order: Iterable[int]) -> bytes:
        messages = sent(ffa)

        def stream():  # a generator: nothing may need the replies twice, or all at once
            for i in order:
                yield reply(messages[i], examples=i + 1, B=values[i])

        return to_parts(ffa.aggregate_train(1, stream())[0])["B"].tobytes()

    assert merged([0, 1, 2, 3]) == merged([3, 1, 0, 2])


def test_sampling_depends_on_seed_and_round_alone():
    members = tuple(Member(i, 100 - i) for i in range(10))
    one = create("ffa", Federation(LAYOUT, members, "f", task=CLASSIFICATION, seed=1, fraction=0.3))
    other = create("ffa", Federation(LAYOUT, members[::-1], "g", task=CLASSIFICATION, seed=1, fraction=0.3))
    rounds = [[m.partition for m in one.sample(r)] for r in range(1, 20)]
    assert rounds == [[m.partition for m in other.sample(r)] for r in range(1, 20)]
    assert all(len(r) == 3 for r in rounds)
    assert len({tuple(r) for r in rounds}) > 10
    assert {i for r in rounds for i in r} == set(range(10))


BAD_REPLIES = {
    "wrong round": (lambda m: reply(m, payload=pack(LAYOUT, Payload(9, {"B": B0}))), "round 9, this is round 1"),
    "wrong layout": (
        lambda m: reply(m, payload=pack(Layout((Module("m", 2, 9),), 2), Payload(1, {"B": np.zeros(18, np.float32)}))),
        "layout",
    ),
    "wrong parts": (lambda m: reply(m, A=A0), "parts"),
    "wrong slots": (
        lambda m: reply(m, payload=pack(LAYOUT, Payload(1, {"B": B0[:1]}, np.array([1])))),
        "slots are not those of the plan",
    ),
    "not a number": (
        lambda m: reply(m, payload=_with_nan()),
        "not finite",
    ),
    "no payload": (
        lambda m: Message(RecordDict({REPORT: ConfigRecord({"status": "done"})}), reply_to=m),
        "no payload",
    ),
    "no report": (lambda m: Message(RecordDict(), reply_to=m), "does not say"),
    "no examples": (lambda m: reply(m, B=B0, examples=0), "no examples"),
    "absurd weight": (lambda m: reply(m, B=B0, examples=10**12), "no examples from 0 to 1e.09"),
    "loss not a number": (lambda m: reply(m, B=B0, metrics={"loss": float("nan")}), "no loss from 0"),
    "loss beyond bounds": (lambda m: reply(m, B=B0, metrics={"loss": 1.7e308}), "no loss from 0"),
    "half an example": (lambda m: reply(m, B=B0, metrics={"examples": 0.5}), "reports 0.5 as examples"),
    "abstains without a reason": (
        lambda m: Message(RecordDict({REPORT: ConfigRecord({"status": "abstained"})}), reply_to=m),
        "no reason given",
    ),
    "an archive for an array": (lambda m: raw(m, b"PK\x03\x04" + bytes(200)), "is no row of bytes"),
    "an array that claims to be huge": (lambda m: raw(m, _npy(9 * 10**14)), "says that it has 900000000000000 bytes"),
    "an array of objects": (lambda m: raw(m, _npy(1, "|O")), "is no row of bytes"),
    "noise for an array": (lambda m: raw(m, bytes(range(256))), "is no row of bytes"),
    "an object of another kind": (
        lambda m: Message(RecordDict({REPORT: ConfigRecord({"status": "done"}), PAYLOAD: ConfigRecord()}), reply_to=m),
        "no payload",
    ),
    "terminal escapes": (
        lambda m: Message(Error(2, "BractError: \x1b]0;owned\x07\x1b[2J" + "x" * 10**6), reply_to=m),
        r"^\]0;owned \[2Jx{400,500}…$",
    ),
    "error after a long traceback": (
        lambda m: Message(Error(2, "x" * 5000 + "\nBractError: the disk is full"), reply_to=m),
        "^the disk is full$",
    ),
    "error": (
        lambda m: Message(Error(2, "<class 'ClientAppException'>:<'BractError: the disk is full'>"), reply_to=m),
        "the disk is full$",
    ),
}


def raw(message, data):
    array = Array(dtype="uint8", shape=(1,), stype="numpy.ndarray", data=data)
    metrics = MetricRecord({"examples": 1, "steps": 1, "loss": 1.0, "seconds": 0.0, "busy": 0.0})
    record = ConfigRecord({"status": "done"})
    content = RecordDict({REPORT: record, PAYLOAD: ArrayRecord({"payload": array}), METRICS: metrics})
    return Message(content, reply_to=message)


def _npy(count, dtype="|u1"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({count},), }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(28)


def _with_nan():
    data = pack(LAYOUT, Payload(1, {"B": np.zeros(2, np.float32)})).copy()
    data[-4:] = np.frombuffer(np.float32(np.nan).tobytes(), np.uint8)
    return data


@pytest.mark.parametrize("fault", BAD_REPLIES)
def test_a_bad_reply_is_refused_by_name_and_the_round_goes_on(fault, monkeypatch):
    make, words = BAD_REPLIES[fault]
    said = []
    monkeypatch.setattr("strategies.base.log", lambda level, text, *values: said.append(text % values))
    ffa = create("ffa", federation(clients=3))
    messages = sent(ffa)
    replies = [reply(messages[0], B=[1, 1]), make(messages[1]), reply(messages[2], B=[3, 3])]
    arrays, metrics = ffa.aggregate_train(1, replies)
    assert to_parts(arrays)["B"].tolist() == [2.0, 2.0]
    row = ffa.rows[1]
    assert row.partition == 1
    assert row.status == {"abstains without a reason": "abstained"}.get(fault, row.status) != "merged"
    assert (metrics["clients"], metrics["failed"] + metrics["abstained"]) == (2, 1)
    if row.status == "abstained":
        return
    import re

    assert re.search(words, row.reason)
    assert any("client 1" in line for line in said)


def test_no_reply_counts_twice():
    ffa = create("ffa", federation(clients=2))
    messages = sent(ffa)
    first = reply(messages[0], B=[1, 1])
    stranger = reply(messages[1], B=[50, 50])
    stamp(stranger, reply_to_message_id="another round's")
    arrays, metrics = ffa.aggregate_train(1, [first, first, stranger, reply(messages[1], B=[3, 3])])
    assert to_parts(arrays)["B"].tolist() == [2.0, 2.0]
    assert metrics["clients"] == 2


def test_too_few_answers_end_the_round_by_name():
    ffa = create("ffa", federation(clients=4, quorum=0.75))
    messages = sent(ffa)
    with pytest.raises(BractError, match=r"round 1: 2 of 4 clients answered.*asks for 3.*client 2: no reply"):
        ffa.aggregate_train(1, [reply(messages[0], B=[1, 1]), reply(messages[1], B=[1, 1])])


def test_clients_that_abstain_are_no_failure():
    ffa = create("ffa", federation(clients=2))
    messages = sent(ffa)
    record = ConfigRecord({"status": "abstained", "reason": "it has no examples to train on"})
    abstained = Message(RecordDict({REPORT: record}), reply_to=messages[1])
    arrays, metrics = ffa.aggregate_train(1, [reply(messages[0], B=[1, 1]), abstained])
    assert to_parts(arrays)["B"].tolist() == [1.0, 1.0]
    assert (metrics["clients"], metrics["abstained"], metrics["failed"]) == (1, 1, 0)


def test_a_round_in_which_nobody_trained_keeps_the_arrays():
    ffa = create("ffa", federation(clients=1))
    record = ConfigRecord({"status": "abstained", "reason": "why not"})
    arrays, _ = ffa.aggregate_train(1, [Message(RecordDict({REPORT: record}), reply_to=sent(ffa)[0])])
    assert arrays is None


BAD_MEASURES = [
    {"correct": 0, "examples": 0.5, "loss": 1.0},
    {"correct": 3, "examples": 2, "loss": 1.0},
    {"correct": -1, "examples": 2, "loss": 1.0},
    {"correct": 1, "examples": 2, "loss": 1.7e308},
    {"correct": 1, "examples": 2, "loss": float("nan")},
    {"correct": 0, "examples": 0, "loss": 0.0},
    {"examples": 2, "loss": 1.0},
    {},
]


@pytest.mark.parametrize("bad", BAD_MEASURES)
def test_a_bad_measurement_is_left_out(bad):
    ffa = create("ffa", federation(clients=2))
    messages = list(ffa.configure_evaluate(1, to_arrays({"A": A0, "B": B0}), ConfigRecord(), None))
    for i, message in enumerate(messages):
        stamp(message, message_id=f"m{i}")

    def measured(message, values):
        record = ConfigRecord({"status": "done"})
        return Message(RecordDict({REPORT: record, METRICS: MetricRecord(values)}), reply_to=message)

    good = {"correct": 1, "examples": 4, "loss": 2.0}
    found = ffa.aggregate_evaluate(1, [measured(messages[0], good), measured(messages[1], bad)])
    assert (found["accuracy"], found["loss"], found["partitions"]) == (0.25, 0.5, [0])
    nobody = ffa.aggregate_evaluate(1, [])
    assert "accuracy" not in nobody
    assert nobody["download_bytes"] > 0


def test_a_traceback_around_a_client_s_words_is_cut_off():
    """As Ray wraps them: the words stand in the middle."""
    from flwr.app import Error, Message, RecordDict

    from strategies.replies import reason

    text = "<class 'RayTaskError'>:<'ray::run()\nbract.errors.BractError: data.source: there is no file /x\n\nThe above"
    asked = stamp(Message(RecordDict(), dst_node_id=1, message_type="train"), message_id="m")
    assert reason(Message(Error(code=2, reason=text), reply_to=asked)) == "data.source: there is no file /x"


def test_flower_s_words_around_an_exception_are_cut_off():
    from flwr.app import Error, Message, RecordDict

    from strategies.replies import reason

    asked = stamp(Message(RecordDict(), dst_node_id=1, message_type="train"), message_id="m")
    for text, words in (
        ("<class 'OSError'>:<'[Errno 28] No space left on device'>", "OSError: [Errno 28] No space left on device"),
        ("<class 'bract.errors.BractError'>:<'its disk is full'>", "its disk is full"),
        ("The destination node failed", "The destination node failed"),
    ):
        assert reason(Message(Error(code=2, reason=text), reply_to=asked)) == words
