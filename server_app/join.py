"""Who takes part, and proof that all speak of the same model before anything is trained."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from bract import messages
from bract.errors import BractError
from bract.layout import Layout, Part, Vector
from bract.payload import unpack
from bract.settings import FederationSettings
from server_app.exchange import exchange
from server_app.progress import say
from strategies import Member
from strategies.base import reason

# What clients must agree on, and how a disagreement is called.
MUST_AGREE = {
    "version": "Bract version",
    "base": "base model",
    "layout": "adapter layout",
    "labels": "labels",
    "pooling": "pooling",
    "head_init": "start of the head",
}
SETTLE = 3.0  # seconds without a newcomer after which `federation.nodes = 0` takes who is there


@dataclass(frozen=True)
class Joined:
    """The clients that joined and what they agreed on."""

    members: tuple[Member, ...]
    layout: Layout
    labels: tuple[str, ...]
    base: str
    pooling: str
    head_init: str


def join(grid: Grid, settings: FederationSettings) -> Joined:
    """Wait for the nodes, ask each for its card, compare.

    Raises, before any training: too few nodes by the deadline; a client that cannot take part;
    two with one partition id; clients that disagree, with both values.
    """
    end = time.monotonic() + settings.deadline
    cards: dict[int, dict[str, Any]] = {}
    newest = time.monotonic()
    said = -1
    while True:
        fresh = sorted(set(grid.get_node_ids()) - set(cards))
        if fresh:
            cards |= _ask(grid, fresh, max(1.0, end - time.monotonic()))
            newest = time.monotonic()
        expected = settings.nodes or max((c["partitions"] for c in cards.values()), default=0)
        if cards and len(cards) >= expected:
            break
        if len(cards) != said:
            said = len(cards)
            say(f"waiting for nodes: {said} of {expected or 'any'}")
        if not settings.nodes and cards and time.monotonic() - newest > SETTLE:
            break
        if time.monotonic() > end:
            raise BractError(
                f"federation.nodes = {settings.nodes}: {len(cards)} joined within federation.deadline = "
                f"{settings.deadline:g} seconds; start the missing nodes or ask for fewer"
            )
        time.sleep(0.2)
    return _agreed(cards)


def brief(grid: Grid, member: Member, layout: Layout, deadline: float) -> tuple[dict[str, Any], Vector]:
    """From one client: PEFT's configuration for the export, and the head's first values."""
    message = Message(RecordDict(), dst_node_id=member.node, message_type=messages.BRIEF)
    for reply in exchange(grid, [message], deadline):
        if reply.has_error():
            raise BractError(f"client {member.partition} could not prepare: {reason(reply)}")
        config: dict[str, Any] = json.loads(str(reply.content[messages.REPORT]["adapter"]))
        head: Part = "head"
        payload = unpack(layout, messages.get_payload(reply.content), round=0, parts=[head])
        return config, payload.parts[head]
    raise BractError(f"client {member.partition} did not answer within {deadline:g} seconds")


def _ask(grid: Grid, nodes: list[int], deadline: float) -> dict[int, dict[str, Any]]:
    asked = [Message(RecordDict(), dst_node_id=n, message_type=messages.JOIN) for n in nodes]
    cards = {}
    for reply in exchange(grid, asked, deadline):
        source = reply.metadata.src_node_id
        if reply.has_error():
            raise BractError(f"node {source} cannot take part: {reason(reply)}")
        try:
            cards[source] = _card(json.loads(str(reply.content[messages.REPORT]["card"])))
        except (KeyError, TypeError, ValueError) as error:
            raise BractError(f"node {source} sent no card: {error!r}") from error
    return cards


def _card(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "partition": int(value["partition"]), "partitions": int(value["partitions"])}


def _agreed(cards: Mapping[int, Mapping[str, Any]]) -> Joined:
    nodes = sorted(cards, key=lambda node: (cards[node]["partition"], node))
    members = tuple(Member(cards[node]["partition"], node) for node in nodes)
    for one, two in pairwise(members):
        if one.partition == two.partition:
            raise BractError(
                f"nodes {one.node} and {two.node} both have partition-id={one.partition}; each node needs its own"
            )
    for key, name in MUST_AGREE.items():
        values = {node: json.dumps(cards[node].get(key)) for node in nodes}
        common = Counter(values.values()).most_common(1)[0][0]
        other = next((member for member in members if values[member.node] != common), None)
        if other is not None:
            mine, theirs = _difference(values[other.node], common)
            raise BractError(
                f"client {other.partition} (node {other.node}) has another {name}: {mine}, the others have {theirs}"
            )
    card = cards[nodes[0]]
    layout = Layout.from_json(card["layout"])
    labels = tuple(str(label) for label in card["labels"])
    return Joined(members, layout, labels, str(card["base"]), str(card["pooling"]), str(card["head_init"]))


def _difference(mine: str, theirs: str) -> tuple[str, str]:
    """Both values, cut to where they begin to differ if they are long."""
    if max(len(mine), len(theirs)) <= 80:
        return mine, theirs
    at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
    start = max(0, at - 30)
    return f"…{mine[start : start + 70]}…", f"…{theirs[start : start + 70]}…"
