"""Whole numbers for values: a grid, so that sums are exact and noise is added without a floating-point trace."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bract.errors import BractError
from bract.secure_sum.vector import Bits

FINE = 2.0**-30
MOST = 2.0**20


def steps_of_clip(values: int) -> int:
    return 2 ** math.ceil(math.log2(256 * math.sqrt(values)))


def sensitivity(values: int) -> float:
    return steps_of_clip(values) + math.sqrt(values)


@dataclass(frozen=True)
class Grid:
    step: float
    bits: Bits
    bound: int
    clamps: bool

    @staticmethod
    def for_clipped(clip: float, values: int, members: int, deviation: float) -> "Grid":
        steps = steps_of_clip(values)
        for bits in (32, 64):
            bound = int(2 ** (bits - 1) // members - math.ceil(16 * deviation))
            if bound >= steps * 256 or bits == 64:
                return Grid(clip / steps, bits, bound, True)
        raise AssertionError

    @staticmethod
    def for_weighted() -> "Grid":
        return Grid(FINE, 64, int(MOST / FINE), False)

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        steps = np.rint(values / self.step)
        if not self.clamps and len(steps) and not (np.abs(steps) < self.bound).all():
            raise BractError("a value is out of all bounds")
        return np.clip(steps, -self.bound, self.bound).astype(np.int64)

    def decode(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        return total * self.step
