"""The records of a message, and the words that both sides use for them."""

from typing import Literal

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from bract.errors import BractError

# Message types. Flower routes them by these strings.
JOIN = "query.join"
BRIEF = "query.brief"
TRAIN = "train"
EVALUATE = "evaluate"

# Records.
PLAN = "plan"
PAYLOAD = "payload"
REPORT = "report"
METRICS = "metrics"

Status = Literal["done", "abstained"]


def payload_record(data: NDArray[np.uint8]) -> ArrayRecord:
    """The one array of a message: Flower's cost is per array, not per byte."""
    return ArrayRecord({PAYLOAD: Array(data)})


def get_payload(content: RecordDict) -> NDArray[np.uint8]:
    """The one array of a message; Flower decodes it without pickle."""
    record = content.get(PAYLOAD)
    if not isinstance(record, ArrayRecord) or list(record) != [PAYLOAD]:
        raise BractError("the message carries no payload")
    try:
        array: NDArray[np.uint8] = record[PAYLOAD].numpy()
    except (ValueError, TypeError, EOFError) as error:
        raise BractError(f"the payload is no array: {error}") from error
    return array


def payload_bytes(message: Message) -> int:
    """Bytes of the array as Flower sends it, its own small header included."""
    record = message.content.get(PAYLOAD) if message.has_content() else None
    return sum(len(a.data) for a in record.values()) if isinstance(record, ArrayRecord) else 0


def report(content: RecordDict) -> tuple[Status, str]:
    """What the client says became of its task, and why."""
    record = content.get(REPORT)
    status = record.get("status") if record is not None else None
    if status == "done":
        return "done", ""
    if status == "abstained":
        return "abstained", str(record["reason"])  # type: ignore[index]
    raise BractError("the reply does not say what became of the task")


def metric(content: RecordDict, name: str) -> float:
    """A finite number that the client reports."""
    record = content.get(METRICS)
    value = record.get(name) if isinstance(record, MetricRecord) else None
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise BractError(f"the reply reports no {name}")
    return float(value)
