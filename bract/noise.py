"""Randomness that privacy rests on: AES-256 in counter mode, its key from the operating system.

torch's and NumPy's own generators are predictable from their output or their seed; noise that can be
predicted can be subtracted. Keys are fresh in every process and never leave it.
"""

import hashlib
import os
import secrets
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray


class SecureNoise:
    """A stream of uniform and normal numbers that cannot be told from random without its key.

    With `seed` the key is made of the seed: for tests alone, as anyone can then subtract the noise.
    """

    def __init__(self, seed: str | None = None) -> None:
        key = secrets.token_bytes(32) if seed is None else hashlib.sha256(seed.encode()).digest()
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Numbers of 53 bits in [0, 1)."""
        raw = np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """Standard normal numbers.

        Each is half the sum of four independent ones by Box and Muller: the low bits of a single one tell
        which floating-point numbers the sum it was added to can have come from (Holohan and Braghin, 2021).
        """
        half = (count + 1) // 2
        total = np.zeros((2, half))
        for _ in range(4):
            radius = np.sqrt(-2 * np.log1p(-self.uniform(half)))  # of (0, 1], so the log is finite
            angle = self.uniform(half) * (2 * np.pi)
            total[0] += radius * np.cos(angle)
            total[1] += radius * np.sin(angle)
        return 0.5 * total.reshape(-1)[:count]

    def chosen(self, count: int, rate: float) -> NDArray[np.int64]:
        """Which of so many are in a Poisson sample: each by itself, with this probability."""
        return np.flatnonzero(self.uniform(count) < rate).astype(np.int64)


def process_noise() -> SecureNoise:
    """The process's noise, under a key of its own: also after a fork, which would copy the stream."""
    return _of_process(os.getpid())


@lru_cache(maxsize=1)
def _of_process(process: int) -> SecureNoise:
    return SecureNoise()
