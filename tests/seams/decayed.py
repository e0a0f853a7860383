"""A method whose clients do something new: B is averaged, and held small while it trains."""

from dataclasses import replace

from bract.wire.plan import Plan
from strategies.base import FederatedLora
from strategies.federation import Member
from tests.seams.decay import Decay


class Decayed(FederatedLora):
    """Only B trains and travels."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Train B, with the decay."""
        plan = self.factors(server_round, member, "B")
        return replace(plan, do=(*plan.do, Decay(0.5)))
