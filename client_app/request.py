"""What a message asks of a client: read, checked against what it has, and loaded into the model."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from flwr.app import RecordDict

from bract.adapter.layout import PARTS, Layout, Parts
from bract.directives.directive import Slots
from bract.errors import BractError, PublicError, public
from bract.log import log
from bract.models.lora_model import LoraModel
from bract.wire.messages import PLAN, get_payload
from bract.wire.payload import Payload, unpack
from bract.wire.plan import Plan
from client_app.state import ClientState, Kept

ERROR = 40


@dataclass(frozen=True)
class Request:
    """A plan and the parts that came with it."""

    plan: Plan
    received: Payload


def decode(content: RecordDict, layout: Layout, rank: float | None, partition: int) -> Request:
    """The plan of a message and its payload.

    Guaranteed: the plan is one that this client can obey, and the payload carries exactly what the plan says, finite.
    """
    with public():
        return _decoded(content, layout, rank, partition)


def _decoded(content: RecordDict, layout: Layout, rank: float | None, partition: int) -> Request:
    if PLAN not in content.config_records:
        raise BractError("the message carries no plan")
    plan = Plan.from_record(content.config_records[PLAN], layout.slots)
    if plan.rank != rank:
        now, then = ("none" if value is None else f"{value:g}" for value in (rank, plan.rank))
        raise BractError(
            f"client {partition}: rank in its node's configuration is {now}, it joined this run with {then}; "
            "set it back, or start a new run"
        )
    received = unpack(layout, get_payload(content), round=plan.round, parts=plan.receives)
    slots = plan.carried
    if (received.slots is None) != (slots is None) or not np.array_equal(received.slots, slots):  # type: ignore[arg-type]  # None equals None
        raise BractError("the slots that came down are not those of the plan")
    return Request(plan, received)


def kept_before(plan: Plan, partition: int, layout: Layout, before: int) -> Kept:
    """The client's own state before a round; that which the server has had a reply of must be there."""
    state = ClientState(plan.federation, partition)
    kept = state.load(layout, before)
    if plan.remembers and kept.round < plan.joined:
        kept_by = next((directive.remembers for directive in plan.do if directive.remembers), "")
        what = f"its own {' and '.join(plan.keeps)}" if plan.keeps else kept_by
        log(ERROR, "%s of round %s should be under %s", what, plan.joined, state.folder)
        raise PublicError(
            f"client {partition}: {what} of round {plan.joined} should be in its state folder and is not; "
            "restore it, or start a new run"
        )
    return kept


@contextmanager
def own_state(plan: Plan, partition: int, layout: Layout) -> Iterator[Kept]:
    """What stayed with the client before this round. Nobody else changes it until the block ends."""
    with ClientState(plan.federation, partition).alone() if plan.remembers else nullcontext():
        yield kept_before(plan, partition, layout, plan.round)


def load_parts(model: LoraModel, layout: Layout, request: Request, kept: Kept, first: Parts) -> Slots | None:
    """Set every part of the model as the plan says; the slots that the client carries (None: all).

    A part is what was received, else what was kept, else its first values; slots that the client does not carry are
    zero.
    """
    plan, received = request.plan, request.received
    slots = plan.carried
    for directive in plan.do:
        slots = directive.carried(layout, slots, kept.notes)
    for part in PARTS:
        if part == "head" and not layout.head:
            continue
        vector = kept.parts.get(part) if part in plan.keeps else None
        if part in received.parts:
            vector = layout.whole(part, received.parts[part], received.slots)
        vector = first[part] if vector is None else vector
        model.set(part, layout.whole(part, layout.cut(part, vector, slots), slots), layout)
    return slots


def parts_of(model: LoraModel, layout: Layout) -> Parts:
    """Every part of the model as it stands."""
    return {part: model.get(part) for part in PARTS if part != "head" or layout.head}
