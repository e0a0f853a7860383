"""A method with a rule of its own on the server: B is the clients' median, coordinate by coordinate."""

import numpy as np

from bract.adapter.layout import Parts
from bract.wire.payload import Payload
from bract.wire.plan import Plan
from strategies.aggregation import Merger
from strategies.base import FederatedLora
from strategies.federation import Member


class Median(FederatedLora):
    """Only B trains and travels."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Every member trains B from the server's."""
        return self.factors(server_round, member, "B")

    def merger(self, plan: Plan) -> Merger:
        """Weights do not count."""
        return MedianOf()


class MedianOf:
    """Where replies are kept until the median is asked for."""

    def __init__(self) -> None:
        self._replies: dict[int, Payload] = {}

    def add(self, partition: int, weight: float, payload: Payload) -> None:
        """Keep one client's reply."""
        self._replies[partition] = payload

    def result(self, before: Parts) -> Parts:
        """The median of each coordinate."""
        replies = [self._replies[partition].parts for partition in sorted(self._replies)]
        return {part: np.median([reply[part] for reply in replies], axis=0).astype(np.float32) for part in replies[0]}
