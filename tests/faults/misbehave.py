"""A ClientApp that misbehaves where its node's configuration says `fault="KIND@ROUND"`.

Of each vector that leaves it for a sum it notes a digest: `fault="none"` does that alone.
In a copy of the code it takes the place of `client_app/app.py`, which is `client_app/honest.py` there.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from bract.adapter.layout import Layout, Parts
from bract.wire.messages import PAYLOAD, PLAN, SUM, UNMASK, get_payload, payload_record
from bract.wire.payload import HEADER, Payload, pack
from client_app.client import Client
from client_app.rounds import contributing, local_round

if TYPE_CHECKING:
    from client_app import app as honest  # what honest.py is
else:
    from client_app import honest

PLACE = Path(os.environ["FAULTS_HOME"])


def misbehave(message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
    kind, _, at = str(context.node_config.get("fault", "")).partition("@")
    if message.metadata.message_type == UNMASK:
        asked_to_unmask(kind, int(at or 0), message, context)
    if message.metadata.message_type != "train" or not kind:
        return call_next(message, context)
    partition = str(context.node_config["partition-id"])
    reply = in_training(kind, at, message, context, call_next)
    if SUM in message.content and PAYLOAD in reply.content:
        note(partition, message, reply)
    return reply


def in_training(
    kind: str, at: str, message: Message, context: Context, call_next: Callable[[Message, Context], Message]
) -> Message:
    plan = json.loads(str(message.content.config_records[PLAN]["plan"]))
    round_ = plan["round"]
    if kind == "replay":
        old = PLACE / f"old-{context.node_config['partition-id']}"
        return replayed(message, call_next(message, context), round_, int(at), old)
    if round_ != int(at or 0):
        return call_next(message, context)
    place = f"{context.node_config['partition-id']}-{round_}"
    before(kind, place)
    return after(kind, place, plan, context, call_next(message, context))


def before(kind: str, place: str) -> None:
    """What goes wrong before this client has trained, or while it does."""
    if kind == "raise":
        raise RuntimeError("the cable was cut")
    if kind == "die":  # as when the kernel ends a process for want of memory
        os._exit(9)
    if kind == "pause":
        told(place)
    if kind == "wait":  # inside the training of its own process: what it spends is written down already
        halfway(lambda: told(place))
    if kind == "wait-and-die":  # the same
        halfway(lambda: end_at(place))


def end_at(place: str) -> None:
    """Say that this place is reached, and end when told to go on."""
    told(place)
    os._exit(9)


def after(kind: str, place: str, plan: dict[str, Any], context: Context, reply: Message) -> Message:
    """What goes wrong with its reply."""
    if kind == "late":
        told(place)
    if kind == "nan":
        data = get_payload(reply.content).copy()
        data[-4:] = np.frombuffer(np.float32(np.nan).tobytes(), dtype=np.uint8)
        reply.content[PAYLOAD] = payload_record(data)
    if kind == "layout":
        mine = Client.of(context).layout
        other = Layout(mine.modules, mine.rank + 1, mine.head, mine.variant)
        parts: Parts = {part: np.zeros(other.size(part), dtype=np.float32) for part in plan["sends"]}
        reply.content[PAYLOAD] = payload_record(pack(other, Payload(plan["round"], parts)))
    return reply


def asked_to_unmask(kind: str, at: int, message: Message, context: Context) -> None:
    """What goes wrong when a sum's words are in, and before this client helps to take off their masks."""
    if message.content.config_records[SUM]["number"] != at:
        return
    if kind == "die-at-unmasking":
        os._exit(9)
    if kind == "wait-at-unmasking":
        told(f"{context.node_config['partition-id']}-{at}")


def note(partition: str, message: Message, reply: Message) -> None:
    """What leaves for a sum, and under which number."""
    digest = hashlib.sha256(get_payload(reply.content).tobytes()).hexdigest()
    number = message.content.config_records[SUM]["number"]
    with (PLACE / f"sent-{partition}").open("a") as file:
        file.write(f"{number!s} {digest}\n")


def told(name: str) -> None:
    """Say that this place is reached, and go on when told to."""
    (PLACE / f"flag-{name}").touch()
    while not (PLACE / f"flag-{name}-go").exists():
        time.sleep(0.1)


def halfway(stop: Callable[[], object]) -> None:
    """Stop in the middle of the next training: of steps of its own, or of gradients for the server's step."""
    patches = ExitStack()

    def stopping(work: Callable[..., Any]) -> Callable[..., Any]:
        def stopped(*arguments: Any, **named: Any) -> Any:
            patches.close()
            found = work(*arguments, **named)
            stop()
            return found

        return stopped

    for module, name in ((local_round, "train"), (contributing, "clipped_sum")):
        patches.enter_context(patch.object(module, name, stopping(getattr(module, name))))


def replayed(message: Message, reply: Message, round_: int, at: int, place: Path) -> Message:
    """The reply of the round before, instead of this round's."""
    data = get_payload(reply.content)
    if round_ == at - 1:
        place.write_bytes(data.tobytes())
    if round_ == at:
        old = np.frombuffer(place.read_bytes(), dtype=np.uint8)
        assert HEADER.unpack_from(old.data)[5] == round_ - 1
        reply = Message(RecordDict({**reply.content, PAYLOAD: payload_record(old)}), reply_to=message)
    return reply


app = ClientApp(mods=[misbehave])
app.query("join")(honest.join)
app.query("head")(honest.head)
app.query("keys")(honest.keys)
app.query("deal")(honest.deal)
app.query("confirm")(honest.confirm)
app.query("unmask")(honest.unmask)
app.train()(honest.train)
app.evaluate()(honest.evaluate)

__all__ = ["app"]
