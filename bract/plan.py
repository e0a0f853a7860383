"""What the server asks of one client in one round. The client obeys it and knows no method."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from flwr.app import ConfigRecord

from bract.errors import BractError
from bract.layout import PARTS, Part

KEY = "plan"


@dataclass(frozen=True)
class Plan:
    """Which parts a client receives, trains, sends and keeps, and which slots of them.

    A part that is neither received nor kept has its initial value, drawn from the seed: so a
    frozen A is the same everywhere and never travels. `slots` None means all of them; slots
    that are not named are neither changed nor sent.
    """

    round: int
    federation: str
    trains: tuple[Part, ...] = ()
    sends: tuple[Part, ...] = ()
    receives: tuple[Part, ...] = ()
    keeps: tuple[Part, ...] = ()
    slots: tuple[int, ...] | None = None

    def to_record(self) -> ConfigRecord:
        """The plan as a Flower record: one string, so that it costs one entry."""
        return ConfigRecord({KEY: json.dumps(asdict(self), separators=(",", ":"))})

    @staticmethod
    def from_record(record: Mapping[str, Any], slots: int) -> "Plan":
        """Read a plan for a layout with so many slots; what is not one is refused.

        A client does not send what it is told to keep, whatever the server writes.
        """
        try:
            value = json.loads(record[KEY])
            chosen = value.pop("slots")
            plan = Plan(
                round=int(value.pop("round")),
                federation=str(value.pop("federation")),
                slots=None if chosen is None else tuple(int(s) for s in chosen),
                **{key: tuple(parts) for key, parts in value.items()},
            )
            named = {*plan.trains, *plan.sends, *plan.receives, *plan.keeps}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise BractError(f"the message carries no plan that this version reads ({type(error).__name__})") from error
        if not named <= set(PARTS):
            raise BractError("the plan names unknown parts")
        if set(plan.sends) & set(plan.keeps):
            raise BractError("the plan asks for a part that it says stays with the client")
        if not re.fullmatch("[0-9a-zA-Z]{1,64}", plan.federation) or not 0 <= plan.round < 1 << 32:
            raise BractError("the plan's federation or round is out of bounds")
        if plan.slots is not None and (
            any(a >= b for a, b in pairwise(plan.slots)) or any(not 0 <= s < slots for s in plan.slots)
        ):
            raise BractError(f"the plan's slots should rise from 0 to {slots - 1} at most")
        return plan
