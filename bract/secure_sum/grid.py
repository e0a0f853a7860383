"""Numbers as integers that add up exactly, and integers as words that wrap around."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bract.errors import BractError

Bits = Literal[16, 32, 64]
Words = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]

FINE, NARROW = 256, 8  # how much longer than all rounding together the clip is, in steps
EXAMPLES = 256  # at the clip's whole length, which a word of 32 bits must hold, or else it has 64
MARGIN = 16  # deviations of a share of noise, kept free in every member's part of a word
SPREAD = 6  # deviations of all noise in the sum, kept free in a word of 16 bits
ROOM = 0.5  # of the clip, in every value of a member's part, for which a word of 16 bits must have room
WEIGHTED_STEP = 2.0**-30
WEIGHTED_BOUND = 2**50  # steps: 2**20
FLOAT_BITS = 53


@dataclass(frozen=True)
class Grid:
    """Multiples of `step`: what a member's values are rounded to, once, before noise and masks are added.

    Words of `bits` bits hold the sum of all members' integers: none wraps around to another number. A member's own
    integers are at most `bound` in size; what is beyond is set to it (`clamps`) or refused.
    """

    step: float
    bits: Bits
    bound: int
    clamps: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf or not 0 < self.bound < 2 ** (self.bits - 1):
            raise ValueError(f"no grid: {self}")
        if int(float(self.bound)) != self.bound:
            raise ValueError(f"a bound of {self.bound} is no floating-point number")

    @classmethod
    def for_clipped(cls, clip: float, values: int, members: int, deviation: float) -> "Grid":
        """For sums of vectors of so many values, clipped to `clip`, and each member's noise of this deviation in steps.

        Guaranteed: the sum of all members' integers and noise is what its words say, unless noise is beyond 16
        deviations in all of them; a member's integers of up to 256 vectors at the clip's full length are exact.
        `sensitivity` tells what the deviation must be chosen by. All of this is public.
        """
        if not 0 < clip < math.inf or values < 1 or members < 1 or not 0 <= deviation < math.inf:
            raise ValueError(f"no grid for a clip of {clip}, {values} values, {members} members, noise of {deviation}")
        length = _clip_in_steps(values)
        sizes: tuple[Bits, ...] = (32, 64)
        for bits in sizes:
            bound = (2 ** (bits - 1) - 1) // members - math.ceil(MARGIN * deviation)
            bound -= bound % 2 ** max(0, bits - 1 - FLOAT_BITS)  # so that floating-point numbers can be clamped to it
            if bound >= EXAMPLES * length:
                return cls(clip / length, bits, bound)
        raise BractError(f"the sum over {members} members with noise of deviation {deviation:g} has no room in 64 bits")

    @classmethod
    def for_narrow(cls, clip: float, values: int, members: int, deviation: float) -> "Grid":
        """The same in words of 16 bits: half the bytes, a coarser grid, and so some 9 % more noise.

        `deviation` is of the noise in the sum of all members. Guaranteed: a value of the sum wraps around only where
        its noise is beyond 6 deviations, once in 10**9 values; it is then wrong by 2**16 steps, which costs no privacy.
        BractError where there is no room.
        """
        length = _clip_in_steps(values, NARROW)
        bound = int((2**15 - 1 - SPREAD * deviation) // members)
        if bound < ROOM * length:
            raise BractError(
                f"wire.codec = 'float16': a sum over {members} members with this noise has no room in words of 16 "
                "bits; take float32"
            )
        return cls(clip / length, 16, bound)

    @classmethod
    def for_weighted(cls) -> "Grid":
        """For weighted changes without noise: steps of 2**-30, values below 2**20, fewer than 2**13 members."""
        return cls(WEIGHTED_STEP, 64, WEIGHTED_BOUND, clamps=False)

    @staticmethod
    def sensitivity(values: int, *, narrow: bool = False) -> float:
        """By how many steps, in Euclidean length, one clipped vector more or less moves so many integers of `encode`.

        It is the clip, and a step in each of the values for the rounding: 0.4 % of the clip, or less; for a narrow
        grid 12.5 % or less.
        """
        return _clip_in_steps(values, NARROW if narrow else FINE) + math.sqrt(values)

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The nearest integer number of steps, at most `bound`. What is no number is 0, as a broken gradient is.

        Guaranteed, where it clamps: vectors that differ by one of the clip's length give integers that differ by at
        most `sensitivity`, wherever they lie. Where it does not, values beyond the bound are an error that tells
        nothing of them.
        """
        steps = np.divide(values, self.step, dtype=np.float64)
        if not self.clamps:
            if not (np.abs(steps) < self.bound).all():
                raise BractError("a weighted change is no number, or beyond what the secure sum can hold")
            return np.rint(steps).astype(np.int64)
        np.rint(steps, out=steps)
        np.nan_to_num(steps, copy=False, nan=0.0, posinf=math.inf, neginf=-math.inf)
        return np.clip(steps, -float(self.bound), float(self.bound), out=steps).astype(np.int64)

    def decode(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        """The numbers that a sum of integers stands for."""
        return np.multiply(total, self.step, dtype=np.float64)


def to_words(integers: NDArray[np.int64], bits: Bits) -> Words:
    """Integers modulo 2**bits: words that are added without a thought of what they stand for."""
    sizes: dict[int, Any] = {16: np.uint16, 32: np.uint32, 64: np.uint64}
    words: Words = integers.astype(sizes[bits])
    return words


def from_words(words: Words) -> NDArray[np.int64]:
    """The integers between -2**(bits - 1) and 2**(bits - 1) - 1 that words stand for."""
    return words.view(f"i{words.dtype.itemsize}").astype(np.int64)


def _clip_in_steps(values: int, fine: int = FINE) -> int:
    """The power of two, of at least `fine` times the most that rounding so many values can matter."""
    return 1 << math.ceil(math.log2(fine * math.sqrt(values)))
