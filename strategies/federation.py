"""Who takes part in a federation, and the server's state as Flower keeps it."""

import math
from dataclasses import dataclass, field

from flwr.app import Array, ArrayRecord

from bract.adapter.layout import PARTS, Layout, Parts
from bract.choices import Codec, Head
from bract.privacy.mechanism import Mechanism
from bract.settings.methods import method_of
from bract.settings.schema import Settings, StrategySettings
from bract.tasks.task import Task


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
    task: Task = field(kw_only=True)
    seed: int = 0
    fraction: float = 1.0
    quorum: float = 0.5
    head: Head = "frozen"
    codec: Codec = "float32"
    counts: bool = True  # clients tell their exact numbers of examples and their losses
    strategy: StrategySettings = field(default_factory=StrategySettings)  # what the method itself is told
    mechanism: Mechanism | None = None  # what protects whole clients, where the server is to do that
    summed: bool = False  # the server sees sums over clients alone
    test_seed: str = ""  # of that mechanism's noise and sampling: for tests alone


def to_arrays(parts: Parts) -> ArrayRecord:
    """The server's state as Flower keeps it: one array a part."""
    return ArrayRecord({part: Array(parts[part]) for part in PARTS if part in parts})


def to_parts(arrays: ArrayRecord) -> Parts:
    """The server's state as flat vectors."""
    return {part: arrays[part].numpy() for part in PARTS if part in arrays}


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
