"""The records of a message, and the words that both sides use for them."""

import json
import re
from typing import Literal

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from bract.errors import BractError, one_line
from bract.privacy.spending import PrivacySpending

# Message types. Flower routes them by these strings.
JOIN = "query.join"
HEAD = "query.head"
KEYS = "query.keys"
DEAL = "query.deal"
CONFIRM = "query.confirm"
UNMASK = "query.unmask"
TRAIN = "train"
EVALUATE = "evaluate"

# Records.
PLAN = "plan"
PAYLOAD = "payload"
REPORT = "report"
METRICS = "metrics"
PRIVACY = "privacy"
HOLDOUT = "holdout"  # the same as `privacy`, of held-out examples, where measuring rides along
SUM = "sum"  # what a secure sum needs beside these

LINE = "line"  # the entry of the record of privacy

NPY_HEADER = 128  # bytes that NumPy's format puts before a row of bytes
MAX_NPY_HEADER = 256
NPY_1_0 = b"\x93NUMPY\x01\x00"
ROW_OF_BYTES = re.compile(rb"\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d{1,18}),\), \} *\n")

Status = Literal["done", "abstained"]


def payload_record(data: NDArray[np.uint8]) -> ArrayRecord:
    """The one array of a message: Flower's cost is per array, not per byte."""
    return ArrayRecord({PAYLOAD: Array(data)})


def get_payload(content: RecordDict) -> NDArray[np.uint8]:
    """The one array of a message, read without pickle.

    The bytes are another side's, so NumPy's own header is read here, and not by NumPy, which evaluates it as a
    Python literal: it must say exactly the row of bytes that follows it, and nothing is allocated for it.
    """
    record = content.get(PAYLOAD)
    if not isinstance(record, ArrayRecord) or list(record) != [PAYLOAD]:
        raise BractError("the message carries no payload")
    data = record[PAYLOAD].data
    length = int.from_bytes(data[8:10], "little")
    header = ROW_OF_BYTES.fullmatch(data[10 : 10 + min(length, MAX_NPY_HEADER)])
    if data[:8] != NPY_1_0 or header is None:
        raise BractError("the payload is no row of bytes in NumPy's format 1.0")
    offset = 10 + length
    if int(header[1]) != len(data) - offset:
        raise BractError(f"the payload says that it has {int(header[1])} bytes, and {len(data) - offset} follow")
    return np.frombuffer(data, dtype=np.uint8, offset=offset)


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
    if record is not None and status == "abstained":
        return "abstained", one_line(str(record.get("reason", "no reason given")))
    raise BractError("the reply does not say what became of the task")


def spending_record(spending: PrivacySpending) -> ConfigRecord:
    """What a client's ledger says of this run, for its reply."""
    return ConfigRecord({LINE: json.dumps(spending.to_json())})


def privacy_spending(content: RecordDict, of: str = PRIVACY) -> PrivacySpending | None:
    """What the client's ledger says of this run; None where there is no privacy. `of` is the record's name."""
    record = content.get(of)
    if record is None:
        return None
    try:
        value = json.loads(str(record[LINE]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BractError(f"the reply's privacy line cannot be read ({type(error).__name__})") from error
    return PrivacySpending.from_json(value)


def metric(content: RecordDict, name: str, most: float = 1e9) -> float:
    """A number from 0 to `most` that the client reports."""
    record = content.get(METRICS)
    value = record.get(name) if isinstance(record, MetricRecord) else None
    if not isinstance(value, int | float) or not 0 <= value <= most:
        raise BractError(f"the reply reports no {name} from 0 to {most:g}")
    return float(value)


def noisy_metric(content: RecordDict, name: str, most: float) -> float:
    """A finite number from -most to most that the client reports with noise."""
    record = content.get(METRICS)
    value = record.get(name) if isinstance(record, MetricRecord) else None
    if not isinstance(value, int | float) or not -most <= value <= most:
        raise BractError(f"the reply reports no {name} from {-most:g} to {most:g}")
    return float(value)


def optional_metric(content: RecordDict, name: str, most: float) -> float | None:
    """A number from 0 to `most`, where the client reports it."""
    record = content.get(METRICS)
    return metric(content, name, most) if isinstance(record, MetricRecord) and name in record else None


def count(content: RecordDict, name: str, most: int = 10**9) -> int:
    """A whole number from 0 to `most` that the client reports."""
    value = metric(content, name, most)
    if value != int(value):
        raise BractError(f"the reply reports {value:g} as {name}")
    return int(value)
