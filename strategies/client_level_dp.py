"""Privacy for whole clients, by a server that is trusted: each update clipped, noise once on the sum.

McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018,
https://arxiv.org/abs/1710.06963

    new = old + (sum over the sampled of clip(d_k) + N(0, (sigma C)^2)) / m          d_k = x_k - old

clip(d) = d · min(1, C / ‖d‖), with the norm over everything that the client sent, all parts together; m is fixed:
the number of clients times the rate at which they are sampled, whoever answers.

Guaranteed: one client more or less moves the sum by at most C, whatever it sends; the noise has sigma C in every
coordinate of every part that travels, also where nobody sent a slot. So what is made of the result is as
private towards everyone but the server as `Mechanism` says.
Not guaranteed: anything towards the server, which sees each update as it is.

Slots that a client did not send count as no change.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from bract.adapter.layout import Layout, Part, Parts
from bract.errors import BractError
from bract.privacy.accounting import SLACK, Use, merged
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise, process_noise
from bract.privacy.spending import PrivacySpending
from bract.settings.schema import PrivacySettings
from bract.wire.payload import Payload
from bract.wire.plan import Plan
from strategies.aggregation import ExactSum, Merger
from strategies.federation import Federation, Member


class ClientLevelDP:
    """The server protects whole clients, and counts for itself: what clients say of their spending is not heard.

    Guaranteed: clients are sampled each by itself, by nothing that others know, once a round; a round is spent before
    it begins; all weigh the same. With `test_seed` sample and noise are made of it, which protects nothing.
    """

    noisy = True
    needs_own_rounds = "privacy for whole clients"

    def __init__(self, mechanism: Mechanism, test_seed: str = "") -> None:
        self._mechanism, self._test_seed = mechanism, test_seed
        # To go on with some samples and not with others would tell of the sample, which is a secret.
        self.needs_quorum = mechanism.rate >= 1
        self._uses: list[Use] = []
        self._sampled: dict[int, list[Member]] = {}  # by round: it cannot be drawn again

    def sample(self, server_round: int, federation: Federation) -> list[Member]:
        """A secret Poisson sample, which may be empty."""
        if server_round not in self._sampled:
            every = sorted(federation.members)
            which = self._mechanism.sample(self._noise(server_round, "sample"), len(every))
            self._sampled = {server_round: [every[i] for i in which]}
        return self._sampled[server_round]

    def asked(self, partition: int) -> None:
        """Whether a client is asked does not change what is spent."""

    def merger(self, federation: Federation, plan: Plan, before: Parts, own: Callable[[Plan], Merger]) -> Merger:
        """A noisy sum, whatever the method's own would be; there even if nobody was sampled."""
        noise = self._noise(plan.round, "noise")
        return NoisySum(federation.layout, plan.sends, before, self._mechanism, noise, changes=plan.changes)

    def heard(self, partition: int, spending: PrivacySpending | None, *, trained: bool) -> float | None:
        """The server counts for itself."""
        return None

    def asked_to_measure(self, partition: int) -> None:
        """What clients hold out, the server is told as it is."""

    def measured(self, partition: int, spending: PrivacySpending | None) -> None:
        """And it costs nothing towards the server."""

    def measurings(self, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """None."""
        return {}

    def spend(self) -> None:
        """Count one more round."""
        mechanism = self._mechanism
        uses = merged([*self._uses, mechanism.use()])
        spent = mechanism.epsilon_of(uses)
        if spent > mechanism.epsilon * SLACK:
            raise BractError(
                f"privacy.epsilon = {mechanism.epsilon:g} is spent after {self._rounds} rounds: another would make it "
                f"{spent:.4g}; rounds was smaller when the run began"
            )
        self._uses = uses

    def spendings(self, federation: Federation, privacy: PrivacySettings) -> dict[int, PrivacySpending]:
        """The same for all: whether one was sampled is part of what is protected."""
        if not self._uses:
            return {}
        spending = self._mechanism.spending(self._uses, self._rounds, secret=not self._test_seed)
        return {member.partition: spending for member in federation.members}

    def silent(self) -> list[int]:
        """None: nobody has to say anything."""
        return []

    def memory(self) -> dict[str, Any]:
        """The server's count."""
        return {"privacy": {}, "unheard": {}, "uses": [list(use) for use in self._uses]}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up the count again."""
        self._uses = [Use(float(sigma), float(rate), int(steps)) for sigma, rate, steps in memory.get("uses", [])]

    @property
    def _rounds(self) -> int:
        return sum(use.steps for use in self._uses)

    def _noise(self, server_round: int, stream: str) -> SecureNoise:
        seed = self._test_seed
        return SecureNoise(f"{seed}/{server_round}/{stream}") if seed else process_noise()


class NoisySum:
    """The clipped sum of clients' changes, with noise, over a fixed number."""

    def __init__(
        self,
        layout: Layout,
        parts: Iterable[Part],
        before: Parts,
        mechanism: Mechanism,
        noise: SecureNoise,
        *,
        changes: bool,
    ) -> None:
        self._layout, self._before, self._mechanism, self._noise = layout, before, mechanism, noise
        self._changes = changes
        self._sums = {part: ExactSum(layout.size(part)) for part in parts}

    def add(self, partition: int, weight: float, payload: Payload) -> None:
        """Take one client's reply in, clipped; `weight` does not count."""
        changes: Parts = {}
        for part in self._sums:
            before = self._layout.cut(part, self._before[part], payload.slots)
            changes[part] = payload.parts[part] if self._changes else payload.parts[part] - before
        length = math.sqrt(math.fsum(float(np.square(v, dtype=np.float64).sum()) for v in changes.values()))
        scale = self._mechanism.scale(length)
        for part, total in self._sums.items():
            total.check(scale, changes[part])
        for part, total in self._sums.items():
            where = None if payload.slots is None or part == "head" else self._layout.positions(part, payload.slots)
            total.add(scale, changes[part], where)

    def result(self, before: Parts) -> Parts:
        """The parts after the round. The noise is drawn here: ask once."""
        new: Parts = {}
        for part in sorted(self._sums):
            normal = self._noise.normal(self._layout.size(part))
            change = self._mechanism.noisy_mean(self._sums[part].value(), normal)
            new[part] = (before[part] + change).astype(np.float32)
        return new
