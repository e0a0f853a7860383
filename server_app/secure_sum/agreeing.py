"""The set-up of a run's sums, as the server brings it about: it hands on keys and sealed boxes, and opens none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bract.errors import BractError
from bract.files import replacing
from bract.secure_sum.setup import SEALED, Keys, Parameters, box_of, print_of
from bract.wire import messages
from server_app.progress import say
from server_app.transport import exchange
from strategies import Member
from strategies.replies import reason

LAST = 2**30  # generation that a member may say it knows


@dataclass(frozen=True)
class SetUp:
    """What all members have agreed on, and the boxes of shares that they have sealed for each other."""

    parameters: Parameters
    keys: tuple[bytes, ...]
    boxes: tuple[bytes, ...]
    roster: bool = False  # every member knows the others by its operators' roster, or says so

    @cached_property
    def print(self) -> bytes:
        """Its digest."""
        return print_of(self.parameters, self.keys)

    @cached_property
    def public(self) -> tuple[Keys, ...]:
        """Members' public keys."""
        return tuple(Keys.from_bytes(one, self.parameters) for one in self.keys)

    def place(self, partition: int) -> int | None:
        """A client's place among the members; None if it is none."""
        members = self.parameters.members
        return members.index(partition) if partition in members else None

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Of each member, those with which it shares masks and secrets."""
        return self.parameters.neighbours(self.print)

    def for_receiver(self, receiver: int, asked: Iterable[int], number: int) -> bytes:
        """A round's boxes for one member, of all its neighbours that were asked."""
        senders = sorted(set(self.neighbours[receiver]) & set(asked))
        return b"".join(
            box_of(self.boxes[sender], self.parameters, self.neighbours[sender], receiver, number) for sender in senders
        )

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of keys and boxes that all members sent, and that were sent to them."""
        keys = sum(len(one) for one in self.keys)
        return keys + sum(len(one) for one in self.boxes), len(self.keys) * keys

    def save(self, path: Path) -> None:
        """Before its first round."""
        arrays = {
            f"{kind}.{i}": np.frombuffer(one, dtype=np.uint8)
            for kind, every in (("keys", self.keys), ("boxes", self.boxes))
            for i, one in enumerate(every)
        }
        with replacing(path) as temporary:
            told = {"parameters": self.parameters.to_text(), "roster": "all" if self.roster else ""}
            save_file(arrays, temporary, metadata=told)

    @staticmethod
    def load(path: Path) -> "SetUp | None":
        """The one that was saved; None if there is none."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                told = file.metadata() or {}
                parameters = Parameters.from_text(told["parameters"])
                places = range(len(parameters.members))
                keys, boxes = (
                    tuple(file.get_tensor(f"{kind}.{i}").tobytes() for i in places) for kind in ("keys", "boxes")
                )
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise BractError(f"run.resume: {path} is damaged: {error}") from error
        return SetUp(parameters, keys, boxes, told.get("roster") == "all")


def agree(
    grid: Grid,
    members: Sequence[Member],
    parameters_of: Callable[[Sequence[int], int, bool], Parameters],
    generation: int,
    deadline: float,
    *,
    signed: bool,
) -> SetUp:
    """A new set-up with the members that answer. `parameters_of` makes its parameters of members and generation.

    Who does not answer is left out, and the others are asked anew, since each signs who all the members are. Where
    members know a newer set-up than this server, which was stopped while it made one, it goes on above theirs, once.
    `signed`: members may be nodes with keys; they sign where all have one, and any has a roster to hold it against.
    Raises BractError where too few are left.
    """
    left, behind = sorted(members), True
    while True:
        parameters = parameters_of([member.partition for member in left], generation, signed)
        heard: list[int] = []
        asked = {"parameters": parameters.to_text()}
        said = _asked(grid, left, messages.KEYS, asked, deadline, "keys", newest=heard.append if behind else None)
        keys, rosters = _each(said, "keys"), [one.get("roster") is True for one in said.values()]
        if heard:
            generation, behind = max(heard) + 1, False
            continue
        if signed and not (all(keys.values()) and any(rosters)):
            why = "no node has a roster" if all(keys.values()) else "not every node has a key"
            say(f"{why}: sums are without signatures, against an honest-but-curious server")
            signed, generation = False, generation + 1
            continue
        keys = _readable(keys, parameters)
        if len(keys) == len(left):
            ordered = [keys[member.partition] for member in left]
            dealt = {"parameters": parameters.to_text(), "keys": ordered}
            boxes = _each(_asked(grid, left, messages.DEAL, dealt, deadline, "boxes"), "boxes")
            sealed = tuple(boxes.get(member.partition, b"") for member in left)
            found = SetUp(parameters, tuple(ordered), sealed, signed and all(rosters))
            lengths = [len(every) * parameters.rounds * SEALED for every in found.neighbours]
            right = [len(one) == length for one, length in zip(found.boxes, lengths, strict=True)]
            if all(right):
                return found
            boxes = {m.partition: boxes[m.partition] for m, fits in zip(left, right, strict=True) if fits}
            keys = boxes
        left, generation = [member for member in left if member.partition in keys], generation + 1


def _each(said: Mapping[int, ConfigRecord], name: str) -> dict[int, bytes]:
    return {partition: bytes(one[name]) for partition, one in said.items()}  # type: ignore[arg-type]  # it was looked at


def _readable(keys: Mapping[int, bytes], parameters: Parameters) -> dict[int, bytes]:
    found = {}
    for partition, one in keys.items():
        try:
            Keys.from_bytes(one, parameters)
            found[partition] = one
        except BractError as error:
            say(f"client {partition} takes no part in sums: {error}")
    return found


def _asked(
    grid: Grid,
    members: Sequence[Member],
    kind: str,
    record: Mapping[str, object],
    deadline: float,
    wanted: str,
    *,
    newest: Callable[[int], None] | None = None,
) -> dict[int, ConfigRecord]:
    """What each member answered, with bytes under `wanted`.

    Those that did not, or did not as they should, are named and left out. `newest` is told of newer set-ups that
    members know.
    """
    content = RecordDict({messages.SUM: ConfigRecord(dict(record))})  # type: ignore[arg-type]  # of the kinds it takes
    asked = [Message(content, dst_node_id=member.node, message_type=kind) for member in members]
    found: dict[int, ConfigRecord] = {}
    nodes = {member.node: member.partition for member in members}
    for reply in exchange(grid, asked, deadline):
        partition = nodes.get(reply.metadata.src_node_id)
        if partition is None or partition in found:
            continue
        if reply.has_error():
            say(f"client {partition} takes no part in sums: {reason(reply)}")
            continue
        record_ = reply.content.config_records.get(messages.SUM, ConfigRecord())
        answer, known = record_.get(wanted), record_.get("newest")
        if isinstance(answer, bytes):
            found[partition] = record_
        elif newest is not None and type(known) is int and 0 <= known < LAST:
            newest(known)
        else:
            say(f"client {partition} takes no part in sums: its answer holds no {wanted}")
    for member in members:
        if member.partition not in found:
            say(f"client {member.partition} has not answered with {wanted}")
    return found
