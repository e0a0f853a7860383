"""What is made of a sum over clients, whose single parts nobody has seen."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part, Parts
from bract.errors import BractError
from bract.privacy.spending import PrivacySpending
from bract.secure_sum.rounds import RoundOfSum, sums_of
from bract.secure_sum.vector import Shape, Words, unpacked
from bract.tasks.task import Task
from strategies.measuring import MAX_NOISE, Told
from strategies.server_optimizer import Moments, ServerOptimizer

Slots = NDArray[np.int64]


class SumOfWords:
    """Members' words, added up as they come: memory does not grow with their number, and no order changes a bit."""

    def __init__(self, shape: Shape, number: int) -> None:
        self.total = Words.zeros(shape)
        self.measured: list[PrivacySpending] = []  # what members say that measuring has cost them, and so of its noise
        self._number = number

    def take(self, data: NDArray[np.uint8], measured: PrivacySpending | None) -> None:
        """Add one member's; what is not of this round and shape is refused and leaves no trace."""
        words = unpacked(data, self.total.shape, self._number)
        if measured is not None:
            if not 0 < measured.sigma < MAX_NOISE:
                raise BractError("it measured with noise that is out of bounds")
            self.measured.append(measured)
        self.total.add(words)


@dataclass(frozen=True)
class Summed:
    """How a round's parts follow from its sum."""

    layout: Layout
    of: RoundOfSum
    parts: tuple[Part, ...]
    union: Slots | None  # slots that are in the sum (None: all)

    def vectors(self, values: NDArray[np.int64]) -> dict[Part, NDArray[np.float64]]:
        """The sum by part; slots that nobody sends are zero."""
        decoded, found, start = self.of.grid.decode(values), {}, 0
        for part in self.parts:
            size = self.layout.size(part, self.union)
            piece, start = decoded[start : start + size], start + size
            if self.union is None or part == "head":
                found[part] = piece
            else:
                found[part] = np.zeros(self.layout.size(part))
                found[part][self.layout.positions(part, self.union)] = piece
        return found

    def after(
        self,
        before: Parts,
        values: NDArray[np.int64],
        weight: float,
        optimizer: ServerOptimizer,
        moments: Moments,
    ) -> tuple[Parts, Moments]:
        """The parts after the round.

        old + sum / weight, or the optimizer's step against sum / weight where members send gradients. Slots that
        nobody sends stay as they are.
        """
        means = {part: vector / weight for part, vector in self.vectors(values).items()}
        if self.of.kind != "gradients":
            return {**before, **{p: (before[p] + mean).astype(np.float32) for p, mean in means.items()}}, moments
        gradients: Parts = {part: mean.astype(np.float32) for part, mean in means.items()}
        after, kept = optimizer.step(before, gradients, moments)
        if self.union is not None:
            for part in set(self.parts) - {"head"}:
                still = np.ones(len(after[part]), dtype=bool)
                still[self.layout.positions(part, self.union)] = False
                after[part][still] = before[part][still]
        return after, kept


def told_of(figures: Sequence[int], spendings: Iterable[PrivacySpending], task: Task) -> Told:
    """What was measured by all members together, and how far noise may have moved each sum."""
    sums, known = sums_of(figures, task), list(spendings)
    if not known:
        sums["examples"] = float(round(sums["examples"]))
        return Told(sums)
    width = math.sqrt(len(sums))  # of one example's part in all sums, each in parts of its clip
    spread = math.sqrt(math.fsum((one.sigma * width) ** 2 / max(one.honest, 1) for one in known))
    return Told(sums, {"examples": spread, **{name: spread * bound.clip for name, bound in task.sums.items()}})
