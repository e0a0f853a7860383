"""Where a member stands in a round of a sum: what was agreed, what is asked, and what follows of both."""

import math
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import RecordDict

from bract.directives.directive import Slots
from bract.errors import PublicError
from bract.secure_sum.masks import Context
from bract.secure_sum.rounds import RoundOfSum
from bract.secure_sum.vector import Shape
from bract.wire.messages import SUM, get_payload
from bract.wire.plan import Plan
from client_app.client import Client
from client_app.privacy.budget import Account
from client_app.request import Request
from client_app.secure_sum.memory import Agreed


@dataclass(frozen=True)
class Asked:
    """What a message asks of a member in a round of a sum, beside its plan."""

    number: int
    members: tuple[int, ...]  # those that are asked, by their places
    measure: bool
    union: Slots | None  # slots that any member sends (None: all)

    @staticmethod
    def of(content: RecordDict, agreed: Agreed, client: Client) -> "Asked":
        """Read, checked against what was agreed."""
        record, parameters = content.config_records[SUM], agreed.parameters
        number, members, measure, union = (record.get(name) for name in ("number", "asked", "measure", "slots"))
        if type(number) is not int or not parameters.serves(number):
            raise PublicError("the set-up has no keys for this round")
        if not isinstance(members, list) or any(type(one) is not int for one in members):
            raise PublicError("the message does not say who is asked")
        asked = tuple(int(one) for one in members)
        if list(asked) != sorted(set(asked)) or not set(asked) <= set(range(len(parameters.members))):
            raise PublicError("those that are asked are not members, each once")
        if parameters.members.index(client.partition) not in asked or len(asked) < parameters.survivors:
            raise PublicError(f"at least {parameters.survivors} members are asked, and this one among them")
        slots: Slots | None = None
        if union is not None:
            slots = np.array(union, dtype=np.int64)
            if (np.diff(slots) <= 0).any() or not ((slots >= 0) & (slots < client.layout.slots)).all():
                raise PublicError("the slots of the sum should rise, within the layout")
        return Asked(number, asked, bool(measure), slots)


@dataclass(frozen=True)
class Place:
    """Where a member stands in a round."""

    client: Client
    agreed: Agreed
    asked: Asked
    request: Request
    content: RecordDict

    @property
    def plan(self) -> Plan:
        """What it is to do."""
        return self.request.plan

    @property
    def mine(self) -> int:
        """Its place among the members."""
        return self.agreed.parameters.members.index(self.client.partition)

    @property
    def sum(self) -> RoundOfSum:
        """What the sum is of, by the settings that all have."""
        count = sum(self.client.layout.size(part, self.asked.union) for part in self.plan.sends)
        parameters = self.agreed.parameters
        return RoundOfSum.of(self.client.settings, len(parameters.members), parameters.honest, count)

    @property
    def shape(self) -> Shape:
        """Of the words that it sends."""
        return self.sum.shape(self.client.layout, self.client.task)

    @property
    def context(self) -> Context:
        """What its masks are bound to."""
        asked, model = self.asked, get_payload(self.content).tobytes()
        return Context.of(
            asked.number,
            self.agreed.print,
            self.plan,
            model,
            asked.members,
            self.shape,
            asked.union,
            measured=asked.measure,
        )

    @property
    def shares_noise(self) -> bool:
        """Whether it adds its share of the noise alone: if the run is so and its node's operator trusts its peers."""
        policy = self.client.policy
        return self.client.settings.privacy.noise == "shared" and (policy is None or not policy.full_noise)

    @property
    def account(self) -> Account:
        """Whose budget it spends, and on how many others that rests."""
        known = self.client.policy is not None and bool(self.client.policy.peers.roster)
        honest = self.agreed.parameters.honest if self.shares_noise else 0
        return replace(self.client.account, honest=honest, roster=known)

    def share(self, deviation: float) -> float:
        """Of a noise with this deviation, what this member adds."""
        return deviation / math.sqrt(self.agreed.parameters.honest) if self.shares_noise else deviation
