"""A ClientApp that misbehaves where its node's configuration says `fault="KIND@ROUND"`.

In a copy of the code it takes the place of `client_app/app.py`, which is `client_app/honest.py` there.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from bract.adapter.layout import Layout
from bract.wire.messages import PAYLOAD, PLAN, get_payload, payload_record
from bract.wire.payload import HEADER, Payload, pack
from client_app import client, honest, local_round

PLACE = Path(os.environ["FAULTS_HOME"])


def misbehave(message, context, call_next):
    kind, _, at = str(context.node_config.get("fault", "")).partition("@")
    if message.metadata.message_type != "train" or not kind:
        return call_next(message, context)
    round_ = json.loads(message.content[PLAN]["plan"])["round"]
    who = context.node_config["partition-id"]
    if kind == "replay":
        return replayed(message, call_next(message, context), round_, int(at), PLACE / f"old-{who}")
    if round_ != int(at):
        return call_next(message, context)
    if kind == "raise":
        raise RuntimeError("the cable was cut")
    if kind == "die":  # as when the kernel ends a process for want of memory
        os._exit(9)
    if kind == "pause":
        told(f"{who}-{round_}")
    if kind == "wait":  # inside the training of its own process: what it spends is written down already
        halfway(lambda: told(f"{who}-{round_}"))
    reply = call_next(message, context)
    if kind == "late":
        told(f"{who}-{round_}")
    if kind == "nan":
        data = get_payload(reply.content).copy()
        data[-4:] = np.frombuffer(np.float32(np.nan).tobytes(), dtype=np.uint8)
        reply.content[PAYLOAD] = payload_record(data)
    if kind == "layout":
        plan = json.loads(message.content[PLAN]["plan"])
        mine = client.Client.of(context).layout
        other = Layout(mine.modules, mine.rank + 1, mine.head, mine.variant)
        parts = {part: np.zeros(other.size(part), dtype=np.float32) for part in plan["sends"]}
        reply.content[PAYLOAD] = payload_record(pack(other, Payload(round_, parts)))
    return reply


def told(name):
    """Say that this place is reached, and go on when told to."""
    (PLACE / f"flag-{name}").touch()
    while not (PLACE / f"flag-{name}-go").exists():
        time.sleep(0.1)


def halfway(stop):
    """Stop in the middle of the next training."""
    train = local_round.train

    def stopping(*arguments, **named):
        local_round.train = train
        found = train(*arguments, **named)
        stop()
        return found

    local_round.train = stopping


def replayed(message, reply, round_, at, place):
    """The reply of the round before, instead of this round's."""
    data = get_payload(reply.content)
    if round_ == at - 1:
        place.write_bytes(data.tobytes())
    if round_ == at:
        old = np.frombuffer(place.read_bytes(), dtype=np.uint8)
        assert HEADER.unpack_from(old)[5] == round_ - 1
        reply = Message(RecordDict({**reply.content, PAYLOAD: payload_record(old)}), reply_to=message)
    return reply


app = ClientApp(mods=[misbehave])
app.query("join")(honest.join)
app.query("head")(honest.head)
app.train()(honest.train)
app.evaluate()(honest.evaluate)

__all__ = ["app"]
