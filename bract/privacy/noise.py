"""Randomness that privacy rests on: AES-256 in counter mode, its key from the operating system.

torch's and NumPy's own generators are predictable from their output or their seed; noise that can be
predicted can be subtracted. Keys are fresh in every process and never leave it.
"""

import hashlib
import math
import os
import secrets
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

BLOCK = 8192  # pairs made at a time: what is computed on the way stays in the processor's cache
ZEROS = memoryview(bytes(16 * BLOCK))  # encrypted, they are the stream
TAYLOR = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(7, -1, -1))  # of the sine, the highest first


class SecureNoise:
    """A stream of uniform and normal numbers that cannot be told from random without its key.

    With `seed` the key is made of the seed: for tests alone, as anyone can then subtract the noise.
    """

    def __init__(self, seed: str | None = None) -> None:
        key = secrets.token_bytes(32) if seed is None else hashlib.sha256(seed.encode()).digest()
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """Words of 64 random bits."""
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Numbers of 53 bits in [0, 1)."""
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def fine(self, count: int) -> NDArray[np.float64]:
        """Numbers in (0, 1], of 106 bits before they are rounded: small ones are as fine as large ones.

        Whether one is at most p has the probability p to a relative 2**-51 for every p from 2**-54 to 1;
        none is smaller than 2**-106.
        """
        high, low = (self.words(2 * count) >> np.uint64(11)).reshape(2, count).astype(np.float64)
        low += 1
        low *= 2.0**-53
        high += low
        high *= 2.0**-53
        return high

    def normal(self, count: int) -> NDArray[np.float64]:
        """Standard normal numbers.

        Each is half the sum of four independent ones by Box and Muller: the low bits of a single one tell
        which floating-point numbers the sum it was added to can have come from (Holohan and Braghin, 2021).
        """
        total = np.zeros((2, (count + 1) // 2))
        # Made once: to be given memory takes longer than to compute.
        scratch = np.empty((5, min(BLOCK, total.shape[1])))
        for start in range(0, total.shape[1], BLOCK):
            into = total[:, start : start + BLOCK]
            for _ in range(4):
                into += self._pairs(scratch[:, : into.shape[1]])
        total *= 0.5
        return total.reshape(-1)[:count]

    def _pairs(self, scratch: NDArray[np.float64]) -> NDArray[np.float64]:
        """Independent normal numbers by Box and Muller: a length of either sign, and an angle of half a circle.

        They are two of the five rows that are given to compute in.
        """
        length, angle, sine, square, other = scratch
        count = len(length)
        raw = np.frombuffer(self._stream.update(ZEROS[: 16 * count]), dtype=np.uint64).reshape(2, count)
        bits = other.view(np.uint64)
        np.multiply(np.right_shift(raw[0], np.uint64(11), out=bits), 2.0**-53, out=length)
        np.multiply(np.right_shift(raw[1], np.uint64(11), out=bits), 2.0**-53, out=angle)
        np.negative(length, out=length)
        np.log1p(length, out=length)  # of (0, 1], so it is finite
        length *= -2
        np.sqrt(length, out=length)
        np.left_shift(raw[0], np.uint64(63), out=bits)  # a bit that the length left out is its sign
        np.copysign(length, other, out=length)
        angle -= 0.5
        angle *= np.pi / 2
        _sine(angle, sine, square)
        np.multiply(sine, sine, out=square)
        np.subtract(1, square, out=angle)
        np.sqrt(angle, out=angle)
        angle *= sine
        angle *= 2  # the sine of twice the angle
        square *= -2
        square += 1  # and its cosine
        square *= length
        angle *= length
        scratch[0] = square
        return scratch[:2]

    def poisson_sample(self, count: int, rate: float) -> NDArray[np.int64]:
        """Which of so many are in the sample: each by itself, with this probability."""
        return np.flatnonzero(self.uniform(count) < rate).astype(np.int64)

    def choice(self, count: int, most: int) -> NDArray[np.int64]:
        """At most so many of `count`, in order: all there are, or else every set of that size as likely as any other.

        Two of the numbers that put them into an order are the same once in 2**53, which then decides by their places.
        """
        if count <= most:
            return np.arange(count)
        return np.sort(np.argsort(self.uniform(count), kind="stable")[:most])


def _sine(angle: NDArray[np.float64], into: NDArray[np.float64], square: NDArray[np.float64]) -> None:
    """The sine up to an eighth of a circle, to the last bit or two: many times faster than NumPy's own there."""
    np.multiply(angle, angle, out=square)
    into.fill(TAYLOR[0])
    for factor in TAYLOR[1:]:
        into *= square
        into += factor
    into *= angle


def process_noise() -> SecureNoise:
    """The process's noise, under a key of its own: also after a fork, which would copy the stream."""
    return _of_process(os.getpid())


@lru_cache(maxsize=1)
def _of_process(process: int) -> SecureNoise:
    return SecureNoise()
