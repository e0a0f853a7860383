"""A ServerApp that means harm: in a copy of the code it takes the place of `server_app/app.py`.

It asks the one node that it finds, and writes all that comes back into the run's folder.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from bract.adapter.layout import Layout, Parts
from bract.wire.cards import ClientCard
from bract.wire.messages import EVALUATE, JOIN, PAYLOAD, PLAN, TRAIN, payload_record
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.1)

    def ask(kind: str, content: RecordDict) -> dict[str, Any]:
        (reply,) = grid.send_and_receive([Message(content, dst_node_id=nodes[0], message_type=kind)], timeout=300)
        return fields(reply)

    folder = Path(str(context.run_config["run.folder"]))
    folder.mkdir(parents=True)
    (folder / "writing").write_text(json.dumps(attack(ask)))
    (folder / "writing").rename(folder / "replies.json")


def attack(ask: Callable[[str, RecordDict], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Join; then, by the card's layout, a round of training and a head that answers the first label to everything."""
    found = {"join": ask(JOIN, RecordDict())}
    if "report/card" not in found["join"]:
        return found
    layout = ClientCard.from_text(found["join"]["report/card"]).layout
    plan = Plan(1, "f", ("B", "head"), ("B", "head"), ("B", "head"))
    found["train"] = ask(TRAIN, message(plan, layout, 0.0))
    found["evaluate"] = ask(EVALUATE, message(plan.measuring(), layout, 100.0))
    found["again"] = ask(EVALUATE, message(plan.measuring(), layout, 100.0))
    return found


def message(plan: Plan, layout: Layout, first: float) -> RecordDict:
    sent: Parts = {part: np.zeros(layout.size(part), dtype=np.float32) for part in plan.receives}
    sent["head"][-layout.head[-1].size] = first
    return RecordDict({PLAN: plan.to_record(), PAYLOAD: payload_record(pack(layout, Payload(1, sent)))})


def fields(reply: Message) -> dict[str, Any]:
    """Every entry of every record; of a payload how long it is."""
    if reply.has_error():
        return {"error": reply.error.reason}
    return {
        f"{name}/{entry}": len(value.data) if isinstance(value, Array) else value
        for name, record in reply.content.items()
        for entry, value in record.items()
    }
