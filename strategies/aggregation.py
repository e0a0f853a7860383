"""Adding up clients' updates so that the order in which they arrive does not matter, and the norm that weighs them.

Floating-point addition is not associative: the same replies in another order give other last
bits. Integer addition is. So every weighted value is cut into two integers once, on its own,
and only those are added.
"""

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part, Parts, Vector
from bract.wire.payload import Payload, PayloadError

COARSE = 2.0**16  # the high integer counts 2**-16
FINE = 2.0**62  # the low integer counts 2**-62
LIMIT = 2.0**30  # of one weighted value: 2**17 of them cannot overflow the high integer
LEAST_NORM = 2.0**-40  # as a weight: were all norms zero, all clients would weigh the same
BLOCK = 1 << 15  # values at a time: what one step touches stays in the processor's cache


class ExactSum:
    """A sum of weighted vectors, the same bits in any order of addition.

    Guaranteed: each term (a float64 product) is rounded on its own, by at most 2**-63; the sum of
    up to 2**17 terms is then exact, and rounded once more when it is read. Memory is 16 bytes a
    value, whatever the number of terms. `check` refuses a term with a value of 2**30 or more.
    """

    def __init__(self, size: int) -> None:
        self._high: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self._low: NDArray[np.int64] = np.zeros(size, dtype=np.int64)

    def check(self, weight: float, values: Vector) -> None:
        """Refuse a term that could overflow the sum."""
        if len(values) and float(np.abs(values).max()) * abs(weight) >= LIMIT:
            raise PayloadError("a value is out of all bounds")

    def add(self, weight: float, values: Vector, where: NDArray[np.int64] | None = None) -> None:
        """Add weight * values, that `check` has passed, to the whole vector or to the named positions of it."""
        for start in range(0, len(values), BLOCK):
            block = slice(start, start + BLOCK)
            term = values[block].astype(np.float64) * weight
            high = np.rint(term * COARSE)
            low = np.rint((term - high / COARSE) * FINE)
            target = block if where is None else where[block]
            self._high[target] += high.astype(np.int64)
            self._low[target] += low.astype(np.int64)

    def value(self) -> NDArray[np.float64]:
        """The sum, rounded to float64."""
        return self._high / COARSE + self._low / FINE


class Merger(Protocol):
    """Where a round's replies are put together."""

    def add(self, partition: int, weight: float, payload: Payload) -> None:
        """Take one client's reply in; a refused one (PayloadError) leaves no trace."""

    def result(self, before: Parts) -> Parts:
        """The parts after the round, from those before it and what was added."""


class WeightedMean:
    """The mean of clients' parts, each client by its weight; slots that a client did not send count as zero.

    new = sum_k w_k x_k / sum_k w_k
    """

    def __init__(self, layout: Layout, parts: Iterable[Part]) -> None:
        self._layout = layout
        self._sums = {part: ExactSum(layout.size(part)) for part in parts}
        self._weights: list[float] = []

    def add(self, partition: int, weight: float, payload: Payload) -> None:
        """Take one client's reply in; a refused one leaves no trace."""
        for part, total in self._sums.items():
            total.check(weight, payload.parts[part])
        for part, total in self._sums.items():
            slots = payload.slots
            where = None if slots is None or part == "head" else self._layout.positions(part, slots)
            total.add(weight, payload.parts[part], where)
        self._weights.append(weight)

    def result(self, before: Parts) -> Parts:
        """The mean of what was added."""
        weight = math.fsum(self._weights)  # fsum is exact, so the order does not matter here either
        return {part: (total.value() / weight).astype(np.float32) for part, total in self._sums.items()}


class WeightedChange(WeightedMean):
    """What was before, plus the mean of clients' changes; slots that a client did not send count as no change.

    new = old + sum_k w_k d_k / sum_k w_k

    With `selected`, a slot's sum is divided by the weights of only those that sent it.
    """

    def __init__(self, layout: Layout, parts: Iterable[Part], *, selected: bool = False) -> None:
        super().__init__(layout, parts)
        self._by_slot = ExactSum(layout.slots) if selected else None

    def add(self, partition: int, weight: float, payload: Payload) -> None:
        """Take one client's reply in; a refused one leaves no trace."""
        ones = np.ones(self._layout.slots if payload.slots is None else len(payload.slots), dtype=np.float32)
        if self._by_slot is not None:
            self._by_slot.check(weight, ones)
        super().add(partition, weight, payload)
        if self._by_slot is not None:
            self._by_slot.add(weight, ones, payload.slots)

    def result(self, before: Parts) -> Parts:
        """What was before and the mean of the changes."""
        new: Parts = {}
        for part, total in self._sums.items():
            change = total.value() / self._weight(part)
            new[part] = (before[part] + change).astype(np.float32)
        return new

    def _weight(self, part: Part) -> NDArray[np.float64] | float:
        if self._by_slot is None or part == "head":
            return math.fsum(self._weights)
        weights = self._by_slot.value()
        weights[weights == 0] = 1.0  # nobody sent the slot: its sum is zero
        return np.repeat(weights, self._layout.widths(part))


def product_norm(layout: Layout, a: Vector, b: Vector) -> float:
    """‖BA‖_F over all modules together, without forming a product.

    For one module ‖BA‖_F² = tr(BᵀB · AAᵀ), two r x r matrices; the modules' squares add up.
    """
    total = 0.0
    for rows_a, rows_b in zip(layout.matrices("A", a), layout.matrices("B", b), strict=True):
        wide_a, wide_b = rows_a.astype(np.float64), rows_b.astype(np.float64)
        total += float(np.sum((wide_a @ wide_a.T) * (wide_b @ wide_b.T)))
    return float(np.sqrt(max(total, 0.0)))
