"""Who takes part in a federation, and what became of each client in a round."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from flwr.app import Array, ArrayRecord, Message, MetricRecord

from bract.adapter.layout import PARTS, Layout, Parts
from bract.errors import one_line
from bract.privacy.mechanism import Mechanism
from bract.settings.choices import Codec, Head
from bract.settings.methods import method_of
from bract.settings.schema import Settings, StrategySettings

WRAPPED = re.compile(r"<class '(?:[\w.]+\.)?(\w+)'>:<'")  # how Flower tells of an exception


@dataclass(frozen=True, order=True)
class Member:
    """A client that has joined. Partition ids are stable; node ids change from run to run."""

    partition: int
    node: int
    own: float | None = None  # the rank in its node's configuration
    rank: float = math.inf  # what it carries in this run: own, else what the settings give it; inf: all


@dataclass(frozen=True)
class Federation:
    """Who trains what, agreed at the join."""

    layout: Layout
    members: tuple[Member, ...]
    name: str
    seed: int = 0
    fraction: float = 1.0
    quorum: float = 0.5
    head: Head = "frozen"
    codec: Codec = "float32"
    counts: bool = True  # clients tell their exact numbers of examples and their losses
    strategy: StrategySettings = field(default_factory=StrategySettings)  # what the method itself is told
    mechanism: Mechanism | None = None  # what protects whole clients, where the server is to do that
    test_seed: str = ""  # of that mechanism's noise and sampling: for tests alone


@dataclass
class ClientRow:
    """What became of one client in one round: a line of ``clients.jsonl``."""

    round: int
    partition: int
    status: Literal["merged", "abstained", "failed", "refused"]
    reason: str = ""
    examples: int = 0
    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    busy: float = 0.0
    upload_bytes: int = 0
    upload_values: int = 0
    download_bytes: int = 0
    download_values: int = 0
    rank: float | None = None  # ranks a module that it sent, on average
    epsilon: float | None = None  # what it has spent in this run, by its own ledger
    head_share: float | None = None  # of the squared length of its clipped gradients, where it tells


def totals(rows: Sequence[ClientRow]) -> MetricRecord:
    """A round's figures, of all its clients."""
    merged = [row for row in rows if row.status == "merged"]
    examples = sum(row.examples for row in merged)
    return MetricRecord(
        {
            "clients": len(merged),
            "failed": sum(row.status in ("failed", "refused") for row in rows),
            "abstained": sum(row.status == "abstained" for row in rows),
            **({"loss": math.fsum(row.loss * row.examples for row in merged) / examples} if examples else {}),
            "upload_bytes": sum(row.upload_bytes for row in rows),
            "download_bytes": sum(row.download_bytes for row in rows),
            "upload_values": sum(row.upload_values for row in rows),
        }
    )


def to_arrays(parts: Parts) -> ArrayRecord:
    """The server's state as Flower keeps it: one array a part."""
    return ArrayRecord({part: Array(parts[part]) for part in PARTS if part in parts})


def to_parts(arrays: ArrayRecord) -> Parts:
    """The server's state as flat vectors."""
    return {part: arrays[part].numpy() for part in PARTS if part in arrays}


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


def head_mode(settings: Settings, head_init: str) -> Head:
    """`lora.head` with its `auto` resolved.

    A method may say what it is; where B and head pass from client to client, a local one travels. Else a head made of
    label names is a classifier already and stays as it is; a random one is not, and frozen it would hold every
    method back, so it is trained and shared.
    """
    if settings.lora.head != "auto":
        return settings.lora.head
    own = method_of(settings.strategy.name).head
    if own is None:
        return "frozen" if head_init == "labels" else "shared"
    return "shared" if settings.strategy.local_b == "passed" else own
