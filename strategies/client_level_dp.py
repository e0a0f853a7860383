"""Privacy for whole clients, by a server that is trusted: each update clipped, noise once on the sum.

McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018,
https://arxiv.org/abs/1710.06963

    new = old + (sum over the sampled of clip(d_k) + N(0, (sigma C)^2)) / m          d_k = x_k - old

clip(d) = d · min(1, C / ‖d‖), with the norm over everything that the client sent, all parts together; m is fixed:
the number of clients times the rate at which they are sampled, whoever answers.

Guaranteed: one client more or less moves the sum by at most C, whatever it sends; the noise has sigma C in every
coordinate of every part that travels, also where nobody sent a slot. So what is made of the result is as
private towards everyone but the server as `Mechanism` says, if clients were sampled by `chosen_clients`.
Not guaranteed: anything towards the server, which sees each update as it is.

Slots that a client did not send count as no change.
"""

import math
from collections.abc import Iterable

import numpy as np

from bract.adapter.layout import Layout, Part, Parts
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise, process_noise
from bract.wire.payload import Payload
from bract.wire.plan import Plan
from strategies.aggregation import ExactSum
from strategies.federation import Federation, Member

SAFE = 1 - 1e-5  # of the clip, for what is rounded on the way


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
        shrink = min(1.0, SAFE * self._mechanism.clip / length) if length else 1.0
        for part, total in self._sums.items():
            total.check(shrink, changes[part])
        for part, total in self._sums.items():
            where = None if payload.slots is None or part == "head" else self._layout.positions(part, payload.slots)
            total.add(shrink, changes[part], where)

    def result(self, before: Parts) -> Parts:
        """The parts after the round. The noise is drawn here: ask once."""
        scale, new = self._mechanism.sigma * self._mechanism.clip, Parts()
        for part in sorted(self._sums):
            noisy = self._sums[part].value() + scale * self._noise.normal(self._layout.size(part))
            new[part] = (before[part] + noisy / self._mechanism.batch).astype(np.float32)
        return new


def noisy_sum(federation: Federation, plan: Plan, before: Parts) -> NoisySum | None:
    """Where updates are merged if whole clients are protected: there even if nobody was sampled. Else None."""
    if federation.mechanism is None:
        return None
    noise = noise_of(federation.test_seed, plan.round, "noise")
    return NoisySum(federation.layout, plan.sends, before, federation.mechanism, noise, changes=plan.changes)


def chosen_clients(members: Iterable[Member], mechanism: Mechanism, noise: SecureNoise) -> list[Member]:
    """A Poisson sample: each by itself, with the mechanism's rate. It may be empty."""
    every = sorted(members)
    return [every[i] for i in noise.chosen(len(every), mechanism.rate)]


def noise_of(seed: str, server_round: int, stream: str) -> SecureNoise:
    """The process's own noise; made of a seed where a test gives one."""
    return SecureNoise(f"{seed}/{server_round}/{stream}") if seed else process_noise()
