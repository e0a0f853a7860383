"""Honest members of a secure sum, for a server that asks them whatever it wants."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict

from bract.adapter.layout import Layout
from bract.secure_sum.setup import Parameters, box_of, print_of
from bract.wire.messages import PLAN, SUM, payload_record
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan
from client_app.app import app as honest
from tests.flower.messages import identify, read_back, stamp, written
from tests.hostile.node import App, Reply

KINDS = {name: f"query.{name}" for name in ("join", "keys", "deal", "confirm", "unmask")} | {"train": "train"}


@dataclass(frozen=True)
class SetUp:
    """What a server knows of a set-up."""

    parameters: Parameters
    keys: tuple[bytes, ...]
    boxes: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def print(self) -> bytes:
        return print_of(self.parameters, self.keys)

    def box(self, sender: int, receiver: int, number: int) -> bytes:
        others = [other for other in range(len(self.parameters.members)) if other != sender]
        return box_of(self.boxes[sender], self.parameters, others, receiver, number)

    def boxes_for(self, receiver: int, asked: Iterable[int], number: int) -> bytes:
        return b"".join(self.box(sender, receiver, number) for sender in asked if sender != receiver)


class Members:
    """So many clients of one federation, each with its files; `seen` is all that they ever answered."""

    def __init__(self, home: Path, config: Mapping[str, Any], n: int = 4, app: App = honest) -> None:
        self.home, self.config, self.n, self.app = home, dict(config), n, app
        self.seen: list[tuple[str, int, RecordDict, Reply]] = []
        self._layout: Layout | None = None

    @property
    def all(self) -> list[int]:
        return list(range(self.n))

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            self._layout = self.ask("join", 0, RecordDict()).card.layout
        return self._layout

    def ask(self, kind: str, member: int, content: RecordDict) -> Reply:
        """One message to one member, and what comes back."""
        identify()
        arrived = Message(read_back(written(content)), dst_node_id=member + 7, message_type=KINDS[kind])
        stamp(arrived, message_id="m")
        own = {"partition-id": member, "num-partitions": self.n}
        context = Context(1, member + 7, own, RecordDict(), self.config)
        try:
            with patch.dict(os.environ, BRACT_HOME=str(self.home)):
                reply = Reply(read_back(written(self.app(arrived, context).content)))
        except Exception as error:
            reply = Reply(RecordDict(), f"{type(error).__name__}: {error}")
        self.seen.append((kind, member, content, reply))
        return reply

    def parameters(self, generation: int = 1, first: int = 1, rounds: int = 4, **more: Any) -> Parameters:
        """Of all of them: one may collude, and three shares give a secret."""
        found = Parameters("f", generation, tuple(self.all), first, rounds, 1, 3, (self.n + 1) // 2 + 1)
        return replace(found, **more)

    def keys(self, member: int, parameters: Parameters) -> Reply:
        return self.ask("keys", member, sum_record(parameters=parameters.to_text()))

    def deal(self, member: int, parameters: Parameters, keys: Sequence[bytes]) -> Reply:
        return self.ask("deal", member, sum_record(parameters=parameters.to_text(), keys=list(keys)))

    def agreed(self, parameters: Parameters | None = None) -> SetUp:
        """As an honest server does it."""
        found = parameters or self.parameters()
        keys = tuple(self.keys(i, found).fields["sum/keys"] for i in self.all)
        boxes = {i: self.deal(i, found, keys).fields["sum/boxes"] for i in self.all}
        return SetUp(found, keys, boxes)

    def round(
        self,
        set_up: SetUp,
        number: int,
        *,
        asked: Sequence[int] | None = None,
        value: float = 0.0,
        trains: bool = False,
        changed: Callable[[RecordDict], RecordDict] = lambda content: content,
        **plan: Any,
    ) -> RecordDict:
        """A round's request: a plan, a model all of one value, and what is said of the sum."""
        sends = ("B",) if trains else ()
        made = Plan(**{"round": number, "federation": "f", "trains": sends, "sends": sends, "receives": ("B",), **plan})
        parts: Any = {part: np.full(self.layout.size(part), value, np.float32) for part in made.receives}
        record = {
            "number": number,
            "asked": list(self.all if asked is None else asked),
            "measure": False,
            "print": set_up.print,
        }
        return changed(
            RecordDict(
                {
                    PLAN: made.to_record(),
                    "payload": payload_record(pack(self.layout, Payload(made.round, parts))),
                    SUM: ConfigRecord(record),  # type: ignore[arg-type]
                }
            )
        )

    def train(self, member: int, set_up: SetUp, number: int, **more: Any) -> Reply:
        return self.ask("train", member, self.round(set_up, number, **more))

    def unmask(
        self,
        member: int,
        set_up: SetUp,
        number: int,
        survivors: Sequence[int],
        *,
        asked: Sequence[int] | None = None,
        boxes: bytes | None = None,
    ) -> Reply:
        given = set_up.boxes_for(member, self.all if asked is None else asked, number) if boxes is None else boxes
        parameters = set_up.parameters.to_text()
        return self.ask(
            "unmask",
            member,
            sum_record(parameters=parameters, number=number, survivors=list(survivors), boxes=given),
        )

    def files(self) -> dict[str, bytes]:
        """Everything that the members keep of sums."""
        folder = self.home / "sums"
        return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def sum_record(**values: Any) -> RecordDict:
    """A message about a sum alone."""
    return RecordDict({SUM: ConfigRecord(values)})


def told(record: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[RecordDict], RecordDict]:
    """A request whose words about the sum are others."""

    def change(content: RecordDict) -> RecordDict:
        return RecordDict({**content, SUM: ConfigRecord(dict(record(dict(content.config_records[SUM]))))})

    return change


__all__ = ["Members", "SetUp", "sum_record", "told"]
