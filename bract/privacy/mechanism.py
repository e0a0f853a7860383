"""What protects a client's examples in a run: one object that is trained with, accounted for and stated."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bract.errors import BractError
from bract.privacy.accounting import USELESS, Accountant, Use, epsilon, noise_for
from bract.settings.schema import PrivacySettings, TrainSettings
from bract.settings.steps import Before, sampling_rate, steps_in_round


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
    before: int = 0  # steps before training (LoRA-A2's probe), out of `steps`

    def spent(self, rounds: int) -> float:
        """Epsilon after so many rounds."""
        return epsilon([Use(self.sigma, self.rate, self.steps * rounds)], self.delta, self.accountant)

    def to_json(self) -> dict[str, Any]:
        """What the server may know of it."""
        return {"sigma": self.sigma, "sample_rate": self.rate, "steps": self.steps}


def find(
    privacy: PrivacySettings, train: TrainSettings, examples: int, rounds: int, before: Iterable[Before] = ()
) -> Mechanism:
    """The mechanism that spends the target over `rounds` rounds of a client with so many examples.

    `before` are what takes steps before training: directives of the plan. Their steps are part of the mechanism's.

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
    rate = sampling_rate(train.batch, examples)
    steps = steps_in_round(train, examples, before, private=True)
    sigma = _noise(privacy, rate, steps.total * rounds, "rounds, train.steps or train.batch")
    accountant: Any = privacy.accountant  # text in the settings, which have checked it
    return Mechanism(
        privacy.epsilon, privacy.delta, accountant, privacy.clip, sigma, rate,
        train.batch, steps.total, rounds, steps.before,
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
    accountant: Any = privacy.accountant
    return Mechanism(
        privacy.epsilon, privacy.delta, accountant, privacy.clip, sigma, fraction,
        max(1.0, fraction * clients), 1, rounds,
    )  # fmt: skip


def _noise(privacy: PrivacySettings, rate: float, steps: int, lower: str) -> float:
    hint = f"raise privacy.epsilon, or lower {lower}"
    accountant: Any = privacy.accountant
    try:
        sigma = noise_for(privacy.epsilon, privacy.delta, rate, steps, accountant)
    except BractError as error:
        raise BractError(f"privacy.epsilon = {privacy.epsilon:g}: {error}; {hint}") from error
    if sigma > USELESS:
        raise BractError(f"privacy.epsilon = {privacy.epsilon:g}: takes a noise multiplier of {sigma:g}; {hint}")
    return sigma
