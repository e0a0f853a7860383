"""A strategy's messages and made-up replies to them, without a model."""

import numpy as np
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from bract.adapter.layout import Layout, Module, Tensor
from bract.wire.messages import METRICS, PAYLOAD, PLAN, REPORT, payload_record
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan
from strategies import Federation, Member
from strategies.federation import to_arrays
from tests.flower.messages import stamp

# One module, two ranks: A is 2 x 2 (a row a rank), B rank-first is 2 x 1.
LAYOUT = Layout((Module("m", 2, 1),), rank=2)
A0 = np.array([1, 2, 3, 4], np.float32)
B0 = np.zeros(2, np.float32)
WITH_HEAD = Layout(LAYOUT.modules, 2, (Tensor("w", (2, 3)), Tensor("b", (2,))))


# Two modules, two ranks. A has rows of two (m) and of one (n), B of one (m) and of two (n):
# slots 0 and 1 are m's ranks, 2 and 3 are n's.
PAIR = Layout((Module("m", 2, 1), Module("n", 1, 2)), rank=2)
PAIR_A = np.array([3, 4, 0, 1, 2, 1], np.float32)
PAIR_B = np.array([1, 1, 1, 0, 0, 1], np.float32)


def federation(layout=LAYOUT, clients=2, **options):
    return Federation(layout, tuple(Member(i, 10 + i) for i in range(clients)), "f", **options)


def sent(strategy, round_=1, parts=None):
    layout = strategy.federation.layout
    parts = parts or {"A": A0, "B": B0}
    if layout.head:
        parts = {**parts, "head": np.zeros(layout.size("head"), np.float32)}
    messages = list(strategy.configure_train(round_, to_arrays(parts), ConfigRecord(), None))
    for i, message in enumerate(messages):
        stamp(message, message_id=f"m{i}")
    return messages


def reply(message, layout=LAYOUT, *, examples=1, metrics=None, payload=None, slots=None, **parts):
    plan = Plan.from_record(message.content[PLAN], slots=layout.slots)
    slots = None if slots is None else np.array(slots)
    vectors = {k: np.array(v, np.float32) for k, v in parts.items()}
    data = pack(layout, Payload(plan.round, vectors, slots)) if payload is None else payload
    values = {"examples": examples, "steps": 1, "loss": 1.0, "seconds": 0.0, "busy": 0.0, **(metrics or {})}
    return Message(
        RecordDict(
            {REPORT: ConfigRecord({"status": "done"}), PAYLOAD: payload_record(data),
             METRICS: MetricRecord(values)}
        ), reply_to=message,
    )  # fmt: skip


def products(parts, layout=LAYOUT):
    """B A of every module, d_out x d_in, side by side as one vector."""
    pairs = zip(layout.matrices("B", parts["B"]), layout.matrices("A", parts["A"]), strict=True)
    return np.concatenate([(b.T @ a).reshape(-1) for b, a in pairs])


def product(parts, layout=LAYOUT):
    """B A of the only module."""
    return products(parts, layout).reshape(layout.modules[0].d_out, layout.modules[0].d_in)


def merged(strategy, replies, round_=1):
    """What the strategy makes of the replies to the messages of `sent`."""
    from strategies.federation import to_parts

    return to_parts(strategy.aggregate_train(round_, replies)[0])
