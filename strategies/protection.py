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

    def asked_to_measure(self, partition: int) -> None:
        """A client is asked to measure on what it holds out."""

    def measured(self, partition: int, spending: PrivacySpending | None) -> None:
        """A client has answered that; the spending is none where it measured exactly or not at all."""

    def spend(self) -> None:
        """Count one more round before it begins; BractError if that is too much."""

    def measurings(self, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """What each client has spent of what it holds out, where it measures under noise."""

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
    if federation.summed:
        return InSums()
    if federation.mechanism is None:
        return ByClients()
    return ClientLevelDP(federation.mechanism, federation.test_seed)


class Said:
    """What clients said that they have spent in one lane, and how often they were asked since then."""

    def __init__(self) -> None:
        self.spendings: dict[int, PrivacySpending] = {}  # by client: what its ledger said last
        self.unheard: dict[int, int] = {}  # by client: times it was asked since then

    def asked(self, partition: int) -> None:
        """It may spend from now on."""
        self.unheard[partition] = self.unheard.get(partition, 0) + 1

    def heard(self, partition: int, spending: PrivacySpending | None, *, spent: bool) -> None:
        """Its own word holds; without one it did not ask its ledger, unless it has `spent` something."""
        if spending is not None:
            self.spendings[partition], self.unheard[partition] = spending, 0
        elif not spent:
            self.unheard[partition] = max(0, self.unheard.get(partition, 0) - 1)

    def supposed(self, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """By clients' own ledgers, and what they may have spent since."""
        return {
            partition: spending.with_unheard(self.unheard.get(partition, 0), privacy.delta, privacy.accountant)
            for partition, spending in self.spendings.items()
        }

    def memory(self) -> tuple[dict[str, Any], dict[str, int]]:
        """What was said, and what was asked since, for JSON."""
        said = {str(p): spending.to_json() for p, spending in sorted(self.spendings.items())}
        return said, {str(p): times for p, times in sorted(self.unheard.items()) if times}

    def recall(self, said: Mapping[str, Any], unheard: Mapping[str, Any]) -> None:
        """Take up both again."""
        self.spendings = {int(p): PrivacySpending.from_json(one) for p, one in said.items()}
        self.unheard = {int(p): int(times) for p, times in unheard.items()}


class ByClients:
    """Each client protects its own examples, or nothing is protected; the server adds nothing and counts what it hears.

    Guaranteed: a round that a client was asked for and did not answer counts as spent until it says otherwise.
    """

    noisy = False
    needs_quorum = True
    needs_own_rounds = ""

    def __init__(self) -> None:
        self._training, self._measuring = Said(), Said()

    def sample(self, server_round: int, federation: Federation) -> list[Member]:
        """A pure function of seed, round and the partitions that joined."""
        members = sorted(federation.members)
        count = max(1, round(federation.fraction * len(members)))
        rng = np.random.default_rng([federation.seed, 3, server_round])
        return [members[i] for i in sorted(rng.choice(len(members), size=count, replace=False))]

    def asked(self, partition: int) -> None:
        """It may spend from now on."""
        self._training.asked(partition)

    def merger(self, federation: Federation, plan: Plan, before: Parts, own: Callable[[Plan], Merger]) -> Merger:
        """The method's own."""
        return own(plan)

    def heard(self, partition: int, spending: PrivacySpending | None, *, trained: bool) -> float | None:
        """Its own word holds."""
        self._training.heard(partition, spending, spent=trained)
        return spending.epsilon if spending is not None else None

    def asked_to_measure(self, partition: int) -> None:
        """It may spend from now on, of what it holds out."""
        self._measuring.asked(partition)

    def measured(self, partition: int, spending: PrivacySpending | None) -> None:
        """Its own word holds; one that measured exactly, or not at all, has spent nothing."""
        self._measuring.heard(partition, spending, spent=False)

    def spend(self) -> None:
        """Clients' ledgers do that."""

    def spendings(self, federation: Federation, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """By clients' own ledgers, and the rounds since that they may have trained in."""
        return self._training.supposed(privacy)

    def measurings(self, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """By clients' own ledgers, and the times since that they may have measured."""
        return self._measuring.supposed(privacy)

    def silent(self) -> list[int]:
        """Their own ledgers stop them at the target."""
        training = self._training
        return sorted(p for p, rounds in training.unheard.items() if rounds and p not in training.spendings)

    def memory(self) -> dict[str, Any]:
        """What was said, and what was asked since."""
        said, unheard = self._training.memory()
        measured, unmeasured = self._measuring.memory()
        return {"privacy": said, "unheard": unheard, "uses": [], "measured": measured, "unmeasured": unmeasured}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up all of it again."""
        self._training.recall(memory.get("privacy", {}), memory.get("unheard", {}))
        self._measuring.recall(memory.get("measured", {}), memory.get("unmeasured", {}))


class InSums(ByClients):
    """Each client protects what is in a sum that nobody sees into. All take part in every round.

    Guaranteed: a round that a client was asked for counts as spent, whatever became of it.
    """

    needs_quorum = False  # a sum over too few is not released, and the run goes on
    needs_own_rounds = "a sum that nobody sees into"

    def sample(self, server_round: int, federation: Federation) -> list[Member]:
        """All of them."""
        return sorted(federation.members)
