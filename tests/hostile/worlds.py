"""Two worlds that differ in one example, and the same server in both: what leaves them must be the same.

All private randomness is fixed, so whatever differs was computed from the data. Exempt are the values that carry the
mechanism's noise, and only their values: that they are there, and how long they are, is compared.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict

from bract.adapter.layout import PARTS, Layout, Parts
from bract.privacy.noise import SecureNoise
from bract.tasks.registry import task_of
from bract.wire.messages import PAYLOAD, payload_record
from bract.wire.payload import HEADER, Payload, pack
from client_app.app import app as honest
from client_app.data import cache
from client_app.engine import independence
from tests.hostile.node import App, Node, Reply, Row, Words, with_plan

SHARED = ("layout", "model", "first_parts")  # what is kept of a model, which all worlds have in common


@dataclass(frozen=True)
class Ask:
    """One message of the server's: settings, a plan, and what it does to its own message."""

    kind: str
    wishes: Words = field(default_factory=dict)
    plan: Words = field(default_factory=dict)
    odd: Any = None  # fields of the plan that are damaged, or words in its place
    values: float = 0.0  # what is sent down
    damage: str = ""  # of the payload: `none`, `cut`, `nan`, `round`

    @property
    def prunes(self) -> bool:
        """Whether the number of slots that are sent is made of noised values: then so is the length."""
        return any(one["name"] == "prune" for one in self.plan.get("do", ()))


@dataclass(frozen=True)
class World:
    """A node's rows and its policy."""

    rows: Sequence[Row]
    policy: Mapping[str, Words] = field(default_factory=dict)
    suffix: str = ".csv"


@dataclass
class Seen:
    """What was played, so that a suite that plays nothing is noticed."""

    requests: int = 0
    computed: int = 0  # trained or measured in both worlds
    kinds: set[str] = field(default_factory=set)


def play(
    world: World, asks: Sequence[Ask], folder: Path, layouts: "Layouts", app: App = honest, seed: str = "fixed"
) -> list[Reply]:
    """The server's messages, one after the other, to a node that never saw another one."""
    for cached in vars(cache).values():
        if hasattr(cached, "cache_clear") and cached.__name__ not in SHARED:
            cached.cache_clear()
    independence._known.clear()  # else the second world would begin with what the first found out of the model
    shutil.rmtree(folder, ignore_errors=True)
    with fixed_randomness(seed):
        node = Node(folder, layouts.node.model, world.rows, policy=world.policy, suffix=world.suffix, app=app)
        return [node.ask(ask.kind, ask.wishes, content_of(ask, layouts.of(ask.wishes))) for ask in asks]


def differences(
    ours: World, others: World, asks: Sequence[Ask], place: Path, layouts: "Layouts", app: App = honest
) -> tuple[list[str], Seen]:
    """What tells the two worlds apart, in words; nothing if all is well. And what was played."""
    one, two = (play(world, asks, place / name, layouts, app) for name, world in (("ours", ours), ("others", others)))
    found, seen = [], Seen()
    for ask, first, second in zip(asks, one, two, strict=True):
        seen.requests += 1
        seen.computed += first.status == second.status == "done"
        seen.kinds.add(f"{ask.kind} {first.status}")
        here, there = told(ask, first), told(ask, second)
        found += [
            f"{ask.kind}: {name} is {here.get(name)!r} in one world and {there.get(name)!r} in the other"
            for name in sorted(here.keys() | there.keys())
            if here.get(name) != there.get(name)
        ]
    return found, seen


def told(ask: Ask, reply: Reply) -> dict[str, str]:
    """All of a reply that must not depend on an example. Values are told with their kinds: 1, 1.0 and True differ."""
    found = {name: repr(value) for name, value in reply.fields.items() if name != "payload/payload"}
    if "payload/payload" in reply.fields:
        found["header"] = reply.payload[: HEADER.size].hex()
        found["length"] = "noised" if ask.prunes else str(len(reply.payload))
    if ask.kind == "head":  # it is no trained value
        found["head"] = reply.payload.hex() if not reply.error else ""
    if ask.kind == "evaluate":
        task = task_of(str(ask.wishes.get("model.task", "classify")))
        for name in ("examples", *task.sums):
            if f"metrics/{name}" in found:
                found[f"metrics/{name}"] = f"noised {type(reply.fields[f'metrics/{name}']).__name__}"
    return found


class Layouts:
    """What the server knows of the adapters of its runs: asked once of a node that is neither of the two."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def of(self, wishes: Words) -> Layout:
        """By the settings that decide it."""
        mine = {key: wishes[key] for key in ("lora.rank", "lora.targets", "model.task", "data.label") if key in wishes}
        return self.node.layout(mine)


def content_of(ask: Ask, layout: Layout) -> RecordDict:
    """The message's content."""
    if ask.kind in ("join", "head"):
        return RecordDict()
    base = {"round": 1, "federation": "f", "trains": [], "sends": [], "receives": [], "keeps": [], "slots": None}
    plan = {**base, "do": [], "changes": False, "rank": None, "joined": 0, **ask.plan}
    slots = None if plan["slots"] is None else np.array([s for s in plan["slots"] if s < layout.slots], dtype=np.int64)
    plan["slots"] = None if slots is None else slots.tolist()
    sent: Parts = {
        part: np.full(layout.size(part, slots), ask.values, dtype=np.float32)
        for part in PARTS
        if part in plan["receives"]
    }
    round_ = plan["round"] + (ask.damage == "round")
    data = pack(layout, Payload(round_, sent, slots)).copy()
    if ask.damage == "nan" and len(data) > HEADER.size + 4:
        data[-4:] = np.frombuffer(np.float32(np.nan).tobytes(), dtype=np.uint8)
    content = RecordDict({PAYLOAD: payload_record(data[:-1] if ask.damage == "cut" else data)})
    if ask.damage == "none":
        del content[PAYLOAD]
    whole = with_plan(content, json.dumps(plan))
    return whole if ask.odd is None else with_plan(whole, ask.odd)


def keep_models(patch: pytest.MonkeyPatch) -> None:
    """Models of all shapes that a server asks for are kept, not only the last one: building is what takes longest."""
    for name in SHARED:
        patch.setattr(cache, name, lru_cache(maxsize=16)(getattr(cache, name).__wrapped__))


@contextmanager
def fixed_randomness(seed: str) -> Iterator[None]:
    """Every private random number is that of a stream that begins anew: noise, keys, secrets and ids."""
    stream = SecureNoise(seed)
    with pytest.MonkeyPatch.context() as patch:
        replace_everywhere(patch, "process_noise", lambda: stream)
        replace_everywhere(patch, "token_hex", "ab".__mul__)
        replace_everywhere(patch, "token_bytes", b"\xab".__mul__)
        yield


def replace_everywhere(patch: pytest.MonkeyPatch, name: str, instead: Any) -> None:
    """In every module that has this name: also where it was imported from another."""
    for module in list(sys.modules.values()):
        whose = getattr(module, "__name__", "")
        ours = whose == "secrets" or whose.startswith(("bract.", "client_app."))
        if ours and name in vars(module):
            patch.setattr(module, name, instead)
