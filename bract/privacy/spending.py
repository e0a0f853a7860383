"""What one client has spent of its privacy in one run: what its ledger says, and what the statement repeats."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bract.choices import Accountant
from bract.errors import BractError
from bract.privacy.accounting import Use, epsilon

NUMBERS = ("epsilon", "sigma", "sample_rate", "steps", "rounds", "limit")
MAY_LACK = ("epsilon", "limit")
TOO_LARGE = 1e12  # for any of its numbers


@dataclass(frozen=True)
class Limit:
    """What the node's operator allows for the lifetime of its data; no server can raise it."""

    epsilon: float
    delta: float
    unit: str = "example"  # for each of which it holds: or "person"


@dataclass(frozen=True)
class PrivacySpending:
    """Enough to compute a client's epsilon again, with any accountant.

    Counts are as they came: whole numbers where they were counted, floats where they were read from another side.
    """

    epsilon: float | None  # after all uses; None: not known
    sigma: float  # noise multiplier of a round
    sample_rate: float
    steps: float  # in a round
    rounds: float  # joined so far
    uses: tuple[tuple[float, float, float], ...]  # sigma, sampling rate, steps
    limit: float | None = None  # what the node's operator allows for the lifetime of the data
    unheard: int | None = None  # rounds of those that are only supposed; None: all are known
    honest: int = 0  # members whose shares make up the noise, where clients share it; 0: it is the client's own

    def with_unheard(self, rounds: int, delta: float, accountant: Accountant) -> "PrivacySpending":
        """The same with so many rounds more, in which the client was asked to train and did not answer.

        It may have trained: its update may be at the SuperLink, too late for the round. Its next reply says what it
        has spent in truth.
        """
        if not rounds:
            return replace(self, unheard=0)
        uses = (*self.uses, *[(self.sigma, self.sample_rate, self.steps)] * rounds)
        spent = None
        if self.epsilon is not None:
            spent = epsilon([Use(sigma, rate, int(steps)) for sigma, rate, steps in uses], delta, accountant)
        return replace(self, epsilon=spent, rounds=self.rounds + rounds, uses=uses, unheard=rounds)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a reply, a checkpoint and `privacy.json`."""
        found: dict[str, Any] = {
            "epsilon": self.epsilon,
            "sigma": self.sigma,
            "sample_rate": self.sample_rate,
            "steps": self.steps,
            "rounds": self.rounds,
            "uses": [list(use) for use in self.uses],
            "limit": self.limit,
        }
        if self.honest:
            found["honest"] = self.honest
        if self.unheard is not None:
            found |= {"uses": found.pop("uses"), "unheard": self.unheard}  # in the order of earlier statements
        return found

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "PrivacySpending":
        """Read what another side wrote. Guaranteed: every number is from 0 to 1e12; what is not is a BractError."""
        try:
            numbers = {name: None if value[name] is None else float(value[name]) for name in NUMBERS}
            uses = tuple((float(sigma), float(rate), float(steps)) for sigma, rate, steps in value["uses"])
            honest = int(value.get("honest", 0))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BractError(f"the reply's privacy line cannot be read ({type(error).__name__})") from error
        known = [honest, *(number for row in (numbers.values(), *uses) for number in row if number is not None)]
        if not all(0 <= number < TOO_LARGE for number in known):
            raise BractError("the reply's privacy line is out of bounds")
        if any(numbers[name] is None for name in NUMBERS if name not in MAY_LACK):
            raise BractError("the reply's privacy line lacks a number")
        return PrivacySpending(**numbers, uses=uses, honest=honest)  # type: ignore[arg-type]  # that none lacks was checked
