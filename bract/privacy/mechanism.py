"""What protects examples, or whole clients, in a run: one object that samples, clips, adds noise and counts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bract.choices import Accountant
from bract.errors import BractError
from bract.privacy.accounting import USELESS, Use, epsilon, noise_for
from bract.privacy.noise import SecureNoise
from bract.privacy.spending import PrivacySpending
from bract.settings.schema import PrivacySettings, TrainSettings
from bract.settings.steps import Before, sampling_rate, steps_in_round

SAFE = 1 - 1e-5  # of the clip: what is rounded on the way must not let anything past it


class Numbers(Protocol):
    """A NumPy array or a torch tensor."""

    @property
    def dtype(self) -> Any:
        """What each number is."""

    def __add__(self, other: Any, /) -> Any: ...

    def __mul__(self, other: Any, /) -> Any: ...


Values = TypeVar("Values", bound=Numbers)


@dataclass(frozen=True)
class Mechanism:
    """The Poisson-sampled Gaussian mechanism: DP-SGD as it is done and as it is accounted.

    One step, on records of which each contributes one vector:

        S      each record by itself with probability `rate`                          sample
        sum    of c · min(1, clip / ‖c‖) over the contributions c of S                scale
        out    (sum + N(0, (sigma · clip)²) in every coordinate) / batch              noisy_mean

    Guaranteed: the outputs of at most `steps` such steps in each of at most `rounds` rounds, and all that is computed
    from them, each step's contributions computed from the outputs before it included, are together
    (epsilon, delta)-differentially private under adding or removing one record's part in every step, the number of
    records being known. `find` chooses `sigma` so, and `epsilon_of` never says less than what was spent. A record is
    an example of one client, or, where whole clients are protected, one client's update: then a round is one step.

    At its edges: a sample may be empty, and then noise alone is the output, as it must be; with a rate of 1 there is no
    sampling and none is accounted; a contribution of length 0 stays, one that is no number must count as zero
    (the caller's part, like sending nothing but outputs); with a sigma of 0 epsilon is infinite.

    Not guaranteed: anything if the sample, the sums before the noise, or the noise's key or seed are told. `batch` is
    public and fixed; dividing by the size of a sample would tell it. Numbers are floating-point ones, and the proof's
    are real: `SecureNoise` and `SAFE` narrow that gap and do not close it. How long a step takes is not covered.
    """

    epsilon: float
    delta: float
    accountant: Accountant
    clip: float
    sigma: float  # noise multiplier: of the clip
    rate: float
    batch: float  # by which noisy sums are divided: near rate * records, and no secret
    steps: int  # in a round, those before training included
    rounds: int
    before: int = 0  # steps before training (LoRA-A2's probe), out of `steps`

    @property
    def deviation(self) -> float:
        """Of the noise on a sum, in every coordinate."""
        return self.sigma * self.clip

    def sample(self, noise: SecureNoise, records: int) -> NDArray[np.int64]:
        """Which of so many records are in a step."""
        return noise.poisson_sample(records, self.rate)

    def scale(self, length: float) -> float:
        """By what a contribution of this length is multiplied before it is added to a sum."""
        return min(1.0, SAFE * self.clip / length) if length else 1.0

    def noisy_mean(self, clipped_sum: Values, normal: Values) -> Values:
        """What leaves a step. `normal`: fresh standard normal numbers, one for every value that is released.

        Guaranteed: the sum is widened to float64, the noise is scaled, added and divided in float64, and the result is
        cast once, to the sum's own type. Noise that is cast before it is added lies on a coarse lattice, and the low
        bits of what is released then tell which sum it was added to; `normal` that is not float64 is an error.
        """
        if not str(normal.dtype).endswith("float64"):
            raise TypeError(f"noise of {normal.dtype} would tell the sum by its low bits: float64 is needed")
        wide: Any = (clipped_sum + normal * self.deviation) / self.batch
        mean: Values = wide.astype(clipped_sum.dtype) if hasattr(wide, "astype") else wide.to(clipped_sum.dtype)
        return mean

    def use(self, rounds: int = 1) -> Use:
        """What so many rounds cost, for the accountant."""
        return Use(self.sigma, self.rate, self.steps * rounds)

    def epsilon_of(self, uses: Iterable[Use]) -> float:
        """What was spent by these uses, at this delta."""
        return epsilon(uses, self.delta, self.accountant)

    def spent(self, rounds: int) -> float:
        """Epsilon after so many rounds."""
        return self.epsilon_of([self.use(rounds)])

    def spending(
        self, uses: Sequence[Use], rounds: int, *, secret: bool, limit: float | None = None
    ) -> PrivacySpending:
        """What was spent by these uses in so many rounds. Where the noise was no secret, that is not known."""
        spent = self.epsilon_of(uses) if secret else math.inf
        known = None if math.isinf(spent) else spent
        plain = tuple((use.sigma, use.rate, use.steps) for use in uses)
        return PrivacySpending(known, self.sigma, self.rate, self.steps, rounds, plain, limit)


def find(
    privacy: PrivacySettings,
    train: TrainSettings,
    examples: int,
    rounds: int,
    before: Iterable[Before] = (),
    *,
    largest_delta: float | None = None,
) -> Mechanism:
    """The mechanism that spends the target over `rounds` rounds of a client with so many examples.

    `before` are what takes steps before training: directives of the plan. Their steps are part of the mechanism's.
    `largest_delta`: what the client's operator allows, in place of a tenth of one in the number of examples.

    Raises BractError, saying what could be changed, where there is none that one would want.
    """
    require_delta(privacy.delta, examples, "the client's examples", largest_delta)
    if train.batch > examples:
        raise BractError(
            f"train.batch = {train.batch}: a client has fewer {privacy.unit}s, so it would be all of them in every "
            "step; set a smaller train.batch"
        )
    rate = sampling_rate(train.batch, examples)
    steps = steps_in_round(train, examples, before, private=True)
    sigma = _noise(privacy, rate, steps.total * rounds, "rounds, train.steps or train.batch")
    return Mechanism(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        accountant=privacy.accountant,
        clip=privacy.clip,
        sigma=sigma,
        rate=rate,
        batch=train.batch,
        steps=steps.total,
        rounds=rounds,
        before=steps.before,
    )


def find_for_measuring(
    privacy: PrivacySettings, records: int, rounds: int, sums: int, *, largest_delta: float | None = None
) -> Mechanism:
    """The mechanism for so many sums over held-out examples, before training and after each of `rounds` rounds.

    It spends the target once more. Held-out examples are no others' trained ones, so for each example one of the two
    counts. An example's part in every sum is from 0 to 1; there is no sampling.
    """
    require_delta(privacy.delta, records, "the client's examples", largest_delta)
    sigma = _noise(privacy, 1.0, rounds + 1, "rounds")
    return Mechanism(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        accountant=privacy.accountant,
        clip=math.sqrt(sums),
        sigma=sigma,
        rate=1.0,
        batch=1.0,
        steps=1,
        rounds=rounds + 1,
    )


def find_for_sum(
    privacy: PrivacySettings,
    train: TrainSettings,
    rounds: int,
    records: int | None = None,
    *,
    largest_delta: float | None = None,
) -> Mechanism:
    """The mechanism of a sum over all clients, to which each adds its share of the noise: a step in each of `rounds`.

    One public sampling rate for all, so that the mechanism is one and the same. `records`: those of the client whose
    word this is; None for the server, which does not know them.
    """
    if records is not None:
        require_delta(privacy.delta, records, "the client's examples", largest_delta)
    sigma = _noise(privacy, train.rate, rounds, "rounds or train.rate")
    return Mechanism(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        accountant=privacy.accountant,
        clip=privacy.clip,
        sigma=sigma,
        rate=train.rate,
        batch=train.batch,
        steps=1,
        rounds=rounds,
    )


def find_for_clients(privacy: PrivacySettings, clients: int, fraction: float, rounds: int) -> Mechanism:
    """The mechanism that spends the target over `rounds` rounds, each of a Poisson sample of so many clients.

    Raises BractError, saying what could be changed, where there is none that one would want.
    """
    require_delta(privacy.delta, clients, "clients")
    sigma = _noise(privacy, fraction, rounds, "rounds or federation.fraction")
    return Mechanism(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        accountant=privacy.accountant,
        clip=privacy.clip,
        sigma=sigma,
        rate=fraction,
        batch=max(1.0, fraction * clients),
        steps=1,
        rounds=rounds,
    )


def require_delta(delta: float, count: int, of: str, largest: float | None = None) -> None:
    """BractError for a delta with which whole records could leak: above a tenth of one in so many of them.

    `largest` is the operator's word, in its place.
    """
    bound = 1 / (10 * max(count, 1)) if largest is None else largest
    if delta > bound:
        why = f"a tenth of one in the number of {of}" if largest is None else "what the operator allows"
        raise BractError(
            f"privacy.delta = {delta:g}: whole records could leak, as it is above {why}; "
            f"set it to {_rounded_down(bound)} or less"
        )


def _rounded_down(value: float) -> str:
    """To two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.floor(value / unit * (1 + 1e-12)) * unit:.2g}"


def _noise(privacy: PrivacySettings, rate: float, steps: int, lower: str) -> float:
    hint = f"raise privacy.epsilon, or lower {lower}"
    try:
        sigma = noise_for(privacy.epsilon, privacy.delta, rate, steps, privacy.accountant)
    except BractError as error:
        raise BractError(f"privacy.epsilon = {privacy.epsilon:g}: {error}; {hint}") from error
    if sigma > USELESS:
        raise BractError(f"privacy.epsilon = {privacy.epsilon:g}: takes a noise multiplier of {sigma:g}; {hint}")
    return sigma
