"""What the server asks of one client in one round. The client obeys it and knows no method."""

import json
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from flwr.app import ConfigRecord
from numpy.typing import NDArray

from bract.adapter.layout import PARTS, Part
from bract.directives.directive import Directive, Scope
from bract.directives.registry import parsed, require_fit, written
from bract.errors import BractError

KEY = "plan"


@dataclass(frozen=True)
class Plan:
    """Which parts a client receives, trains, sends and keeps, and which slots of them.

    A part that is neither received nor kept has its initial value, drawn from the seed: so a
    frozen A is the same everywhere and never travels. `slots` are those that the client carries
    (None: all): they come down, are trained and go up; the others are zero, as if they were not
    there. `do` are directives: what the client does beyond training these parts, such as selecting
    the slots that it sends. With `changes` it sends what it learned, not what it then has.
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
    do: tuple[Directive, ...] = ()
    changes: bool = False
    rank: float | None = None
    joined: int = 0

    def to_record(self) -> ConfigRecord:
        """The plan as a Flower record: one string, so that it costs one entry."""
        value = {field.name: getattr(self, field.name) for field in fields(self)} | {"do": written(self.do)}
        return ConfigRecord({KEY: json.dumps(value, separators=(",", ":"))})

    @property
    def carried(self) -> NDArray[np.int64] | None:
        """The slots as an index; None for all."""
        return None if self.slots is None else np.array(self.slots, dtype=np.int64)

    def scope(self, slots: int) -> Scope:
        """What directives must fit, for a layout with so many slots."""
        return Scope(self.trains, self.slots, slots if self.slots is None else len(self.slots))

    @property
    def remembers(self) -> bool:
        """Whether something of this round stays on the client's disk."""
        return bool(self.keeps) or any(directive.remembers for directive in self.do)

    def measuring(self) -> "Plan":
        """The same model, to be measured and not trained."""
        return replace(self, trains=(), sends=(), changes=False, do=tuple(d for d in self.do if d.measures))

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
        if plan.changes and not set(plan.sends) <= set(plan.trains):
            raise BractError("the plan asks for the change of a part that it does not train")
        require_fit(plan.do, plan.scope(slots))
        return plan


def _parsed(value: dict[str, Any]) -> Plan:
    slots, rank, do = (value.pop(key) for key in ("slots", "rank", "do"))
    return Plan(
        round=int(value.pop("round")),
        federation=str(value.pop("federation")),
        joined=int(value.pop("joined")),
        slots=None if slots is None else tuple(operator.index(s) for s in slots),
        do=parsed(do),
        rank=None if rank is None else float(rank),
        changes=bool(value.pop("changes")),
        **{key: tuple(parts) for key, parts in value.items()},
    )
