"""What became of each client in a round: replies checked, and their figures noted."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from flwr.app import Message, MetricRecord, RecordDict

from bract.adapter.layout import Layout
from bract.errors import BractError, one_line
from bract.wire import messages
from bract.wire.payload import Payload, unpack
from bract.wire.plan import Plan
from strategies.aggregation import LIMIT

LONGEST = 1e9  # seconds
MAX_EXAMPLES = 10**9  # keeps sums exact; it does not stop a client from claiming more than it has
WRAPPED = re.compile(r"<class '(?:[\w.]+\.)?(\w+)'>:<'")  # how Flower tells of an exception


@dataclass
class ClientRow:
    """What became of one client in one round: a line of ``clients.jsonl``."""

    round: int
    partition: int
    status: Literal["merged", "abstained", "failed", "refused"]
    reason: str = ""
    examples: int | None = None  # that it trained on, and its loss of these: where it tells
    steps: int | None = None
    loss: float | None = None
    seconds: float | None = None  # of training, as the client says, where it tells
    busy: float | None = None  # of its whole answer, as it says
    answered: float | None = None  # from the question to its answer, by the server's clock
    upload_bytes: int = 0
    upload_values: int = 0
    download_bytes: int = 0
    download_values: int = 0
    rank: float | None = None  # ranks a module that it sent, on average
    epsilon: float | None = None  # what it has spent in this run, by its own ledger
    head_share: float | None = None  # of the squared length of its clipped gradients, where it tells


class RoundReplies:
    """Whom a round asked, and a row for each. No reply counts twice, and none that was not asked for."""

    def __init__(self, server_round: int, layout: Layout) -> None:
        self._round, self._layout = server_round, layout
        self._asked: dict[int, tuple[Message, Plan]] = {}
        self._since: dict[int, float] = {}
        self._by_message: dict[str, int] = {}
        self._rows: dict[int, ClientRow] = {}

    @property
    def answered(self) -> int:
        """Clients that have answered so far."""
        return len(self._rows)

    def ask(self, partition: int, message: Message, plan: Plan) -> None:
        """A client is asked by this message to do what the plan says."""
        self._asked[partition], self._since[partition] = (message, plan), time.monotonic()

    def opened(self, reply: Message) -> tuple[ClientRow, Plan] | None:
        """The row that a reply is to fill and the plan that it answers; None where there is none, or none any more."""
        if len(self._by_message) < len(self._asked):  # ids are given when messages are pushed, so not before
            self._by_message = {message.metadata.message_id: p for p, (message, _) in self._asked.items()}
        partition = self._by_message.get(reply.metadata.reply_to_message_id)
        if partition is None or partition in self._rows:
            return None
        row = self._rows[partition] = self._row(partition)
        row.answered = round(time.monotonic() - self._since[partition], 3)
        return row, self._asked[partition][1]

    def closed(self) -> tuple[list[ClientRow], list[ClientRow]]:
        """A row for each that was asked, in order; and of these those of the clients that did not answer."""
        lost = {partition: self._row(partition) for partition in sorted(self._asked.keys() - self._rows)}
        rows = self._rows | lost
        return [rows[partition] for partition in sorted(rows)], list(lost.values())

    def _row(self, partition: int) -> ClientRow:
        message, plan = self._asked[partition]
        row = ClientRow(self._round, partition, "failed", "no reply by the deadline")
        row.download_bytes = messages.payload_bytes(message)
        row.download_values = sum(self._layout.size(part, plan.carried) for part in plan.receives)
        return row


def payload_of(content: RecordDict, plan: Plan, layout: Layout) -> Payload:
    """What a reply carries; BractError if it is not what the plan asks for. Its slots are the method's to judge."""
    payload = unpack(layout, messages.get_payload(content), round=plan.round, parts=plan.sends)
    if any(len(values) and float(np.abs(values).max()) >= LIMIT for values in payload.parts.values()):
        raise BractError("a value is out of all bounds")
    return payload


def note_figures(row: ClientRow, content: RecordDict, payload: Payload, *, counts: bool) -> None:
    """Put into the row what a reply says of its training. With `counts` it must say how many examples that had."""
    row.steps = messages.count(content, "steps")
    if counts:
        row.examples = messages.count(content, "examples", MAX_EXAMPLES)
        row.loss = messages.metric(content, "loss")
        row.head_share = messages.optional_metric(content, "head_share", 1.0)
    row.seconds = messages.optional_metric(content, "seconds", LONGEST)
    row.busy = messages.optional_metric(content, "busy", LONGEST)
    row.upload_values = payload.values
    if counts and not row.examples:
        raise BractError("the reply claims to have learned from no examples")


def totals(rows: Sequence[ClientRow]) -> MetricRecord:
    """A round's figures, of all its clients."""
    merged = [row for row in rows if row.status == "merged"]
    told = [(row.loss, row.examples) for row in merged if row.loss is not None and row.examples]
    examples = sum(count for _, count in told)
    return MetricRecord(
        {
            "clients": len(merged),
            "failed": sum(row.status in ("failed", "refused") for row in rows),
            "abstained": sum(row.status == "abstained" for row in rows),
            **({"loss": math.fsum(loss * count for loss, count in told) / examples} if examples else {}),
            "upload_bytes": sum(row.upload_bytes for row in rows),
            "download_bytes": sum(row.download_bytes for row in rows),
            "upload_values": sum(row.upload_values for row in rows),
        }
    )


def reason(reply: Message) -> str:
    """An error reply's reason in one line: the client's own words where it has any."""
    text = reply.error.reason or f"error code {reply.error.code}"
    wrapped = WRAPPED.match(text)
    if wrapped:  # the app's own exceptions have their kind in the words already
        kind, text = wrapped[1], text[wrapped.end() :]
        text = text if kind == "ClientAppException" else f"{kind}: {text}"
    for mark in ("BractError: ", "PayloadError: "):  # what stands around its one line is a traceback, often long
        if mark in text:
            text = text.rpartition(mark)[2].partition("\n")[0]
    return one_line(text).removesuffix("'>")
