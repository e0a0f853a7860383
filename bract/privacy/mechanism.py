"""What protects a client's examples in a run: one object that is trained with, accounted for and stated."""

import math
from dataclasses import dataclass
from typing import Any

from bract.errors import BractError
from bract.privacy.accounting import USELESS, Use, epsilon, noise_for
from bract.settings.choices import Accountant
from bract.settings.schema import PrivacySettings, TrainSettings
from bract.wire.plan import Select

# A sampling rate tells how many examples there are: from a grid of such steps it tells it to a fifth.
RATES_AN_OCTAVE = 4


@dataclass(frozen=True)
class Mechanism:
    """Poisson-sampled, clipped sums with Gaussian noise: DP-SGD as it is done and as it is accounted.

    Guaranteed: training that takes its sampling rate, its clip and its noise from here, for at most
    `steps` in each of at most `rounds` rounds, is (epsilon, delta)-differentially private under adding
    or removing one example's part in them (the number of examples being known), for everything that is
    computed from the noisy sums. Where clients are protected and not examples, the same holds of one
    client's updates: then a round is one step.
    """

    epsilon: float
    delta: float
    accountant: Accountant
    clip: float
    sigma: float
    rate: float
    batch: float  # by which noisy sums are divided: near rate * examples, and no secret
    steps: int  # in a round, those of a probe included
    rounds: int
    probe: int = 0  # steps that choose slots, out of `steps`

    def spent(self, rounds: int) -> float:
        """Epsilon after so many rounds."""
        return epsilon([Use(self.sigma, self.rate, self.steps * rounds)], self.delta, self.accountant)

    def to_json(self) -> dict[str, Any]:
        """What the server may know of it."""
        return {"sigma": self.sigma, "sample_rate": self.rate, "steps": self.steps}


def coarse_rate(batch: int, examples: int) -> float:
    """Batch / examples, to the nearest power of 2**(1/4), and at most 1."""
    exact = batch / examples
    return float(min(1.0, 2.0 ** (round(math.log2(exact) * RATES_AN_OCTAVE) / RATES_AN_OCTAVE)))


def find(
    privacy: PrivacySettings, train: TrainSettings, examples: int, rounds: int, select: Select | None = None
) -> Mechanism:
    """The mechanism that spends the target over `rounds` rounds of a client with so many examples.

    Raises BractError, saying what could be changed, where there is none that one would want.
    """
    if privacy.delta * examples >= 1:
        raise BractError(
            f"privacy.delta = {privacy.delta:g}: should be well below one in the client's number of examples; "
            f"with it whole examples could leak. Set it below {1 / (10 * examples):.0e}"
        )
    if train.batch > examples:
        raise BractError(
            f"train.batch = {train.batch}: a client has fewer examples, so it would be all of them in every step; "
            "set a smaller train.batch"
        )
    rate = coarse_rate(train.batch, examples)
    # From the rate and not from the exact number of examples, which the number of steps would tell.
    epoch = math.ceil(1 / rate)
    training = train.steps or train.epochs * epoch
    probe = min(epoch, math.ceil(train.steps / 5)) if train.steps else epoch
    probe = probe if select is not None and select.probes else 0
    steps = training + (probe if select is not None and select.extra else 0)
    sigma = _noise(privacy, rate, steps * rounds, "rounds, train.steps or train.batch")
    return Mechanism(
        privacy.epsilon, privacy.delta, privacy.accountant, privacy.clip, sigma, rate,
        train.batch, steps, rounds, probe,
    )  # fmt: skip


def find_for_clients(privacy: PrivacySettings, clients: int, fraction: float, rounds: int) -> Mechanism:
    """The mechanism that spends the target over `rounds` rounds, each of a Poisson sample of so many clients.

    Raises BractError, saying what could be changed, where there is none that one would want.
    """
    if privacy.delta * clients >= 1:
        raise BractError(
            f"privacy.delta = {privacy.delta:g}: should be well below one in the number of clients, which is "
            f"{clients}; set it below {1 / (10 * clients):.0e}"
        )
    sigma = _noise(privacy, fraction, rounds, "rounds or federation.fraction")
    return Mechanism(
        privacy.epsilon, privacy.delta, privacy.accountant, privacy.clip, sigma, fraction,
        max(1.0, fraction * clients), 1, rounds,
    )  # fmt: skip


def _noise(privacy: PrivacySettings, rate: float, steps: int, lower: str) -> float:
    hint = f"raise privacy.epsilon, or lower {lower}"
    try:
        sigma = noise_for(privacy.epsilon, privacy.delta, rate, steps, privacy.accountant)
    except BractError as error:
        raise BractError(f"privacy.epsilon = {privacy.epsilon:g}: {error}; {hint}") from error
    if sigma > USELESS:
        raise BractError(f"privacy.epsilon = {privacy.epsilon:g}: takes a noise multiplier of {sigma:g}; {hint}")
    return sigma
