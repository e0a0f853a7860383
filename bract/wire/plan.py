"""What the server asks of one client in one round. The client obeys it and knows no method."""

import json
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, get_args

from flwr.app import ConfigRecord

from bract.adapter.layout import PARTS, Part
from bract.errors import BractError
from bract.settings.choices import Score

KEY = "plan"

SCORES: tuple[Score, ...] = get_args(Score)


@dataclass(frozen=True)
class Select:
    """The client chooses `count` slots itself: a probe, a score, and the best of the whole model.

    `released` is a score of the factors that came down, and takes no probe.
    """

    count: int
    score: Score = "product"
    reuse: bool = False  # the probe is the first part of training, not an extra that is put back

    @property
    def probes(self) -> bool:
        """Whether choosing takes training."""
        return self.score != "released"

    @property
    def extra(self) -> bool:
        """Whether it takes training beside that of the turn itself."""
        return self.probes and not self.reuse


@dataclass(frozen=True)
class Prune:
    """The client may give up the tail of its ranks: those from floor(keep * rank) on, but never below `least`.

    While it trains, the tail's norm is held down with the strength `penalty`.
    """

    keep: float
    penalty: float
    least: int = 1


@dataclass(frozen=True)
class Plan:
    """Which parts a client receives, trains, sends and keeps, and which slots of them.

    A part that is neither received nor kept has its initial value, drawn from the seed: so a
    frozen A is the same everywhere and never travels. `slots` are those that the client carries
    (None: all): they come down, are trained and go up; the others are zero, as if they were not
    there. With `select` it trains and sends only those that it chooses, and with `prune` it may
    carry fewer from then on. With `changes` it sends what it learned, not what it then has.
    `rank` is what the server believes the client's own configuration to say, and `joined` the last round
    of which it has had this client's reply, so that a client which has lost what it kept can tell.
    """

    round: int
    federation: str
    trains: tuple[Part, ...] = ()
    sends: tuple[Part, ...] = ()
    receives: tuple[Part, ...] = ()
    keeps: tuple[Part, ...] = ()
    slots: tuple[int, ...] | None = None
    select: Select | None = None
    prune: Prune | None = None
    changes: bool = False
    rank: float | None = None
    joined: int = 0

    def to_record(self) -> ConfigRecord:
        """The plan as a Flower record: one string, so that it costs one entry."""
        return ConfigRecord({KEY: json.dumps(asdict(self), separators=(",", ":"))})

    @staticmethod
    def from_record(record: Mapping[str, Any], slots: int) -> "Plan":
        """Read a plan for a layout with so many slots; what is not one is refused.

        A client does not send what it is told to keep, whatever the server writes.
        """
        try:
            plan = _parsed(json.loads(record[KEY]))
            named = {*plan.trains, *plan.sends, *plan.receives, *plan.keeps}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
            raise BractError(f"the message carries no plan that this version reads ({type(error).__name__})") from error
        if not named <= set(PARTS):
            raise BractError("the plan names unknown parts")
        if any(len(set(parts)) < len(parts) for parts in (plan.trains, plan.sends, plan.receives, plan.keeps)):
            raise BractError("the plan names a part twice")
        if set(plan.sends) & set(plan.keeps):
            raise BractError("the plan asks for a part that it says stays with the client")
        if not re.fullmatch("[0-9a-zA-Z]{1,64}", plan.federation) or not 0 <= plan.round < 1 << 32:
            raise BractError("the plan's federation or round is out of bounds")
        if plan.slots is not None and (
            any(a >= b for a, b in pairwise(plan.slots)) or any(not 0 <= s < slots for s in plan.slots)
        ):
            raise BractError(f"the plan's slots should rise from 0 to {slots - 1} at most")
        _check(plan, slots if plan.slots is None else len(plan.slots))
        return plan


def _parsed(value: dict[str, Any]) -> Plan:
    chosen, select, prune, rank = (value.pop(key) for key in ("slots", "select", "prune", "rank"))
    return Plan(
        round=int(value.pop("round")),
        federation=str(value.pop("federation")),
        joined=int(value.pop("joined")),
        slots=None if chosen is None else tuple(operator.index(s) for s in chosen),
        select=None if select is None else Select(int(select.pop("count")), **select),
        prune=None if prune is None else Prune(float(prune["keep"]), float(prune["penalty"]), int(prune["least"])),
        rank=None if rank is None else float(rank),
        changes=bool(value.pop("changes")),
        **{key: tuple(parts) for key, parts in value.items()},
    )


def _check(plan: Plan, slots: int) -> None:
    """What a plan asks for must be possible, and must not take more than it says."""
    factors = [part for part in plan.trains if part != "head"]
    if plan.select is not None and not (
        1 <= plan.select.count <= slots and plan.select.score in SCORES and len(factors) == 1
    ):
        raise BractError("the plan's selection asks for an unknown score, for no slot or for more than there are")
    if plan.prune is not None and not (
        0 < plan.prune.keep <= 1
        and 0 <= plan.prune.penalty < math.inf
        and plan.prune.least >= 1
        and plan.slots
        and plan.select is None
        and (not plan.trains or {"A", "B"} <= set(plan.trains))
    ):
        raise BractError("the plan's pruning is out of bounds")
    if plan.changes and not set(plan.sends) <= set(plan.trains):
        raise BractError("the plan asks for the change of a part that it does not train")
