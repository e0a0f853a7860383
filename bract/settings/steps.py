"""How many optimizer steps a client takes in a round: counted here and nowhere else."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bract.errors import BractError
from bract.settings.schema import TrainSettings

# A sampling rate tells how many records there are: from a grid of such steps it tells it to a fifth.
RATES_AN_OCTAVE = 4


class Before(Protocol):
    """What takes steps before training: a directive of a plan."""

    @property
    def within(self) -> bool:
        """Whether they are the first of the round's own steps."""

    def steps(self, train: TrainSettings, epoch: int) -> int:
        """How many, where so many make a pass over the client's examples."""


@dataclass(frozen=True)
class Steps:
    """Steps before training (LoRA-A2's probe), and those of training after them."""

    before: int
    training: int

    @property
    def total(self) -> int:
        """All of a round: what is trained for, and accounted for."""
        return self.before + self.training


def sampling_rate(batch: int, records: int) -> float:
    """Batch / records, to the nearest power of 2**(1/4), and at most 1: the rate of a private client's draws.

    A record is an example, or a person where persons are protected.
    """
    exact = batch / records
    return float(min(1.0, 2.0 ** (round(math.log2(exact) * RATES_AN_OCTAVE) / RATES_AN_OCTAVE)))


def steps_in_round(train: TrainSettings, records: int, before: Iterable[Before] = (), *, private: bool) -> Steps:
    """The steps of a round for a client with so many examples, or persons where they are protected; none for none.

    Where each is protected (`private`), an epoch is one over the sampling rate and not over their exact number, which
    the number of steps would tell.
    """
    if not records:
        return Steps(0, 0)
    epoch = math.ceil(1 / sampling_rate(train.batch, records)) if private else math.ceil(records / train.batch)
    counts = [(one.steps(train, epoch), one.within) for one in before]
    first = sum(count for count, _ in counts)
    own = train.steps or train.epochs * epoch
    left = own - sum(count for count, within in counts if within)
    if left < 0:
        raise BractError(f"{first} steps before training are more than the {own} of a round that they are part of")
    return Steps(first, left)
