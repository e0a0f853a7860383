"""What is made of a sum over clients, whose single parts nobody has seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part, Parts
from bract.privacy.spending import PrivacySpending
from bract.secure_sum.rounds import RoundOfSum
from bract.secure_sum.vector import Shape, Words, unpacked
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
