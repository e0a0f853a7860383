"""What the server asks of one client in one round. The client obeys it and knows no method."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
    def from_record(record: Mapping[str, Any]) -> "Plan":
        """Read a plan, refusing what is not one."""
        try:
            value = json.loads(record[KEY])
            slots = value.pop("slots")
            plan = Plan(
                round=int(value.pop("round")),
                federation=str(value.pop("federation")),
                slots=None if slots is None else tuple(int(s) for s in slots),
                **{k: tuple(v) for k, v in value.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BractError(f"the message carries no plan that this version reads: {error!r}") from error
        named = {*plan.trains, *plan.sends, *plan.receives, *plan.keeps}
        if not named <= set(PARTS):
            raise BractError(f"the plan names unknown parts: {sorted(named - set(PARTS))}")
        if not plan.federation.isalnum():
            raise BractError("the plan's federation is not a plain name")
        return plan
