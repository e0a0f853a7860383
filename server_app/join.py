"""Who takes part, and proof that all speak of the same model before anything is trained."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from bract.adapter.layout import Layout, Part, Vector
from bract.errors import BractError
from bract.settings.schema import FederationSettings
from bract.tasks.task import Outputs
from bract.wire import messages
from bract.wire.cards import MUST_AGREE, ClientCard
from bract.wire.payload import unpack
from server_app.progress import say
from server_app.transport import NODE_LOST, exchange, take
from strategies import Member
from strategies.replies import reason


@dataclass(frozen=True)
class Joined:
    """The clients that joined and what they agreed on."""

    members: tuple[Member, ...]
    layout: Layout
    card: ClientCard  # of the first: in what counts all are alike

    @property
    def outputs(self) -> Outputs:
        """What the head gives."""
        return Outputs(self.card.outputs, self.card.labels)

    def identity(self) -> dict[str, Any]:
        """What must be the same when a run goes on: who takes part, with which labels and base model."""
        plain = self.card.plain()
        kept = {key: plain[key] for key in MUST_AGREE if key not in ("layout", "version", "task", "outputs")}
        members = self.members
        return {**kept, "clients": [m.partition for m in members], "ranks": [m.own for m in members]}


def join(grid: Grid, settings: FederationSettings) -> Joined:
    """Wait for the nodes, ask each for its card, compare.

    `federation.nodes = 0` waits for as many as the nodes' num-partitions says, and at the deadline
    takes those that are there. Raises, before any training: too few nodes by the deadline; a client
    that cannot take part; two with one partition id; clients that disagree, with both values.
    """
    end = time.monotonic() + settings.deadline
    asked: dict[str, int] = {}
    cards: dict[int, ClientCard] = {}
    known: set[int] = set()
    said = ""
    while True:
        fresh = sorted(set(grid.get_node_ids()) - known)
        known |= set(fresh)
        queries = [Message(RecordDict(), dst_node_id=n, message_type=messages.JOIN) for n in fresh]
        asked |= dict(zip(grid.push_messages(queries), fresh, strict=True)) if queries else {}
        for reply in take(grid, set(asked)):
            node = asked.pop(reply.metadata.reply_to_message_id)
            if reply.has_error() and reply.error.code == NODE_LOST:
                continue
            if reply.has_error():
                raise BractError(f"node {node} cannot take part: {reason(reply)}")
            cards[node] = _card(node, reply)
        expected = settings.nodes or max((card.partitions for card in cards.values()), default=0)
        if cards and len(cards) >= expected:
            return _agreed(cards)
        line = f"waiting for nodes: {len(cards)} of {expected or 'those that come'}"
        if line != said:
            say(said := line)
        if time.monotonic() > end:
            if cards and not settings.nodes:
                say(f"going on with the {len(cards)} nodes that are there, of {expected}")
                return _agreed(cards)
            raise BractError(
                f"federation.nodes = {settings.nodes}: {len(cards)} joined within federation.deadline = "
                f"{settings.deadline:g} seconds{_whose(cards)}; start the missing nodes or ask for fewer"
            )
        time.sleep(0.2)


def _whose(cards: Mapping[int, ClientCard]) -> str:
    """The partition ids of those that joined, as far as they fit into a line."""
    found = sorted(card.partition for card in cards.values())
    return f" (partition-id {', '.join(map(str, found[:20]))}{', …' if len(found) > 20 else ''})" if found else ""


def first_head(grid: Grid, member: Member, layout: Layout, deadline: float) -> Vector:
    """From one client: a head made of label names, which takes the base model to make."""
    head: Part = "head"
    message = Message(RecordDict(), dst_node_id=member.node, message_type=messages.HEAD)
    for reply in exchange(grid, [message], deadline):
        if reply.has_error():
            raise BractError(f"client {member.partition} could not make the head: {reason(reply)}")
        payload = unpack(layout, messages.get_payload(reply.content), round=0, parts=[head])
        return payload.parts[head]
    raise BractError(f"client {member.partition} did not answer within {deadline:g} seconds")


def _card(node: int, reply: Message) -> ClientCard:
    """A client's card, of the kinds of values that it should have."""
    try:
        return ClientCard.from_text(str(reply.content[messages.REPORT]["card"]))
    except BractError as error:
        raise BractError(f"node {node} sent a bad card: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise BractError(f"node {node} sent a card that cannot be read ({type(error).__name__})") from error


def _agreed(cards: Mapping[int, ClientCard]) -> Joined:
    nodes = sorted(cards, key=lambda node: (cards[node].partition, node))
    members = tuple(Member(cards[node].partition, node, cards[node].rank) for node in nodes)
    for one, two in pairwise(members):
        if one.partition == two.partition:
            raise BractError(
                f"nodes {one.node} and {two.node} both have partition-id={one.partition}; each node needs its own"
            )
    for key, name in MUST_AGREE.items():
        values = {node: cards[node].agreed(key) for node in nodes}
        common = Counter(values.values()).most_common(1)[0][0]
        other = next((member for member in members if values[member.node] != common), None)
        if other is not None:
            mine, theirs = _difference(values[other.node], common)
            raise BractError(
                f"client {other.partition} (node {other.node}) has another {name}: {mine}, the others have {theirs}"
            )
    card = cards[nodes[0]]
    return Joined(members, card.layout, card)


def _difference(mine: str, theirs: str) -> tuple[str, str]:
    """Both values, cut to where they begin to differ if they are long."""
    if max(len(mine), len(theirs)) <= 80:
        return mine, theirs
    at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
    start = max(0, at - 30)
    return f"…{mine[start : start + 70]}…", f"…{theirs[start : start + 70]}…"
