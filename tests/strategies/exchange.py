"""A strategy's messages and made-up replies to them, without a model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import ArrayLike, NDArray

from bract.adapter.layout import Layout, Module, Part, Parts, Tensor
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import METRICS, PAYLOAD, PLAN, REPORT, payload_record
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan
from strategies import Federation, Member
from strategies.base import FederatedLora
from strategies.federation import to_arrays, to_parts
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


NO_GRID = cast(Grid, None)  # a strategy knows its clients from joining and asks no grid


def federation(layout: Layout = LAYOUT, clients: int = 2, **options: Any) -> Federation:
    return Federation(layout, tuple(Member(i, 10 + i) for i in range(clients)), "f", task=CLASSIFICATION, **options)


def sent(strategy: FederatedLora, round_: int = 1, parts: Parts | None = None) -> list[Message]:
    layout = strategy.federation.layout
    parts = parts or {"A": A0, "B": B0}
    if layout.head:
        parts = {**parts, "head": np.zeros(layout.size("head"), np.float32)}
    messages = list(strategy.configure_train(round_, to_arrays(parts), ConfigRecord(), NO_GRID))
    for i, message in enumerate(messages):
        stamp(message, message_id=f"m{i}")
    return messages


def reply(
    message: Message,
    layout: Layout = LAYOUT,
    *,
    examples: int = 1,
    metrics: Mapping[str, float] | None = None,
    payload: NDArray[np.uint8] | None = None,
    slots: Sequence[int] | None = None,
    **parts: ArrayLike,
) -> Message:
    """What a client answers that trained these parts, named `A`, `B` and `head`."""
    plan = Plan.from_record(message.content.config_records[PLAN], slots=layout.slots)
    rows = None if slots is None else np.array(slots)
    vectors = {cast(Part, part): np.array(values, np.float32) for part, values in parts.items()}
    data = pack(layout, Payload(plan.round, vectors, rows)) if payload is None else payload
    usual = {"steps": 1, "loss": 1.0, "seconds": 0.0, "busy": 0.0}
    content = RecordDict({REPORT: ConfigRecord({"status": "done"}), PAYLOAD: payload_record(data)})
    content[METRICS] = MetricRecord({"examples": examples, **usual, **(metrics or {})})
    return Message(content, reply_to=message)


def products(parts: Parts, layout: Layout = LAYOUT) -> NDArray[np.float32]:
    """B A of every module, d_out x d_in, side by side as one vector."""
    pairs = zip(layout.matrices("B", parts["B"]), layout.matrices("A", parts["A"]), strict=True)
    return np.concatenate([(b.T @ a).reshape(-1) for b, a in pairs])


def product(parts: Parts, layout: Layout = LAYOUT) -> NDArray[np.float32]:
    """B A of the only module."""
    return products(parts, layout).reshape(layout.modules[0].d_out, layout.modules[0].d_in)


def merged(strategy: FederatedLora, replies: Iterable[Message], round_: int = 1) -> Parts:
    """What the strategy makes of the replies to the messages of `sent`."""
    arrays, _ = strategy.aggregate_train(round_, replies)
    assert arrays is not None
    return to_parts(arrays)
