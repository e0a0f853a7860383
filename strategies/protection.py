"""Who protects a run's data and counts what was spent: the clients themselves, or the server for whole clients."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from bract.adapter.layout import Parts
from bract.privacy.spending import PrivacySpending
from bract.settings.schema import PrivacySettings
from bract.wire.plan import Plan
from strategies.aggregation import Merger
from strategies.client_level_dp import ClientLevelDP
from strategies.federation import Federation, Member


class Protection(Protocol):
    """What depends, in a round, on who protects the data."""

    noisy: bool  # the server draws noise: a round without replies is released too, and none is merged twice
    needs_quorum: bool  # a round that too few have answered is given up
    needs_own_rounds: str  # what Flower's own rounds cannot do; nothing where they can

    def sample(self, server_round: int, federation: Federation) -> list[Member]:
        """The round's members, the same however often it is asked."""

    def asked(self, partition: int) -> None:
        """A client is asked to train."""

    def merger(self, federation: Federation, plan: Plan, before: Parts, own: Callable[[Plan], Merger]) -> Merger:
        """Where a round's replies are merged; `own` makes the method's own place for that."""

    def heard(self, partition: int, spending: PrivacySpending | None, *, trained: bool) -> float | None:
        """A client has answered; the epsilon that its row tells."""

    def spend(self) -> None:
        """Count one more round before it begins; BractError if that is too much."""

    def spendings(self, federation: Federation, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """What each client has spent in this run, as far as it is known."""

    def silent(self) -> list[int]:
        """Clients that were asked to train and have never said what they spend: none beyond the target."""

    def memory(self) -> dict[str, Any]:
        """What must not be forgotten between rounds, as plain values for JSON."""

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` gave."""


def protection_of(federation: Federation) -> Protection:
    """The server's where it has a mechanism, else the clients' own."""
    if federation.mechanism is None:
        return ByClients()
    return ClientLevelDP(federation.mechanism, federation.test_seed)


class ByClients:
    """Each client protects its own examples, or nothing is protected; the server adds nothing and counts what it hears.

    Guaranteed: a round that a client was asked for and did not answer counts as spent until it says otherwise.
    """

    noisy = False
    needs_quorum = True
    needs_own_rounds = ""

    def __init__(self) -> None:
        self._spendings: dict[int, PrivacySpending] = {}  # by client: what its ledger said last
        self._unheard: dict[int, int] = {}  # by client: rounds it was asked to train in since then

    def sample(self, server_round: int, federation: Federation) -> list[Member]:
        """A pure function of seed, round and the partitions that joined."""
        members = sorted(federation.members)
        count = max(1, round(federation.fraction * len(members)))
        rng = np.random.default_rng([federation.seed, 3, server_round])
        return [members[i] for i in sorted(rng.choice(len(members), size=count, replace=False))]

    def asked(self, partition: int) -> None:
        """It may spend from now on."""
        self._unheard[partition] = self._unheard.get(partition, 0) + 1

    def merger(self, federation: Federation, plan: Plan, before: Parts, own: Callable[[Plan], Merger]) -> Merger:
        """The method's own."""
        return own(plan)

    def heard(self, partition: int, spending: PrivacySpending | None, *, trained: bool) -> float | None:
        """Its own word holds."""
        if spending is not None:
            self._spendings[partition], self._unheard[partition] = spending, 0
            return spending.epsilon
        if not trained:  # its ledger was not even asked
            self._unheard[partition] -= 1
        return None

    def spend(self) -> None:
        """Clients' ledgers do that."""

    def spendings(self, federation: Federation, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """By clients' own ledgers, and the rounds since that they may have trained in."""
        return {
            partition: spending.with_unheard(self._unheard.get(partition, 0), privacy.delta, privacy.accountant)
            for partition, spending in self._spendings.items()
        }

    def silent(self) -> list[int]:
        """Their own ledgers stop them at the target."""
        return sorted(p for p, rounds in self._unheard.items() if rounds and p not in self._spendings)

    def memory(self) -> dict[str, Any]:
        """What was said, and what was asked since."""
        return {
            "privacy": {str(p): spending.to_json() for p, spending in sorted(self._spendings.items())},
            "unheard": {str(p): rounds for p, rounds in sorted(self._unheard.items()) if rounds},
            "uses": [],
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up both again."""
        self._spendings = {int(p): PrivacySpending.from_json(said) for p, said in memory.get("privacy", {}).items()}
        self._unheard = {int(p): int(rounds) for p, rounds in memory.get("unheard", {}).items()}
