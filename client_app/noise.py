"""Randomness that privacy rests on: AES-256 in counter mode, its key from the operating system.

torch's and NumPy's own generators are predictable from their output or their seed; noise that can be
predicted can be subtracted. Keys are fresh in every process and never leave it.
"""

import hashlib
import secrets

import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import Tensor

TWO_PI = 6.283185307179586


class SecureNoise:
    """A stream of uniform and normal numbers that cannot be told from random without its key.

    With `seed` the key is made of the seed: for tests alone, as anyone can then subtract the noise.
    """

    def __init__(self, seed: str | None = None) -> None:
        key = secrets.token_bytes(32) if seed is None else hashlib.sha256(seed.encode()).digest()
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> Tensor:
        """Numbers of 53 bits in [0, 1), as float64."""
        raw = torch.frombuffer(bytearray(self._stream.update(bytes(8 * max(count, 1)))), dtype=torch.int64)
        return ((raw >> 11) & ((1 << 53) - 1)).double().mul_(2.0**-53)[:count]

    def normal(self, count: int) -> Tensor:
        """Standard normal numbers, as float64.

        Each is half the sum of four independent ones by Box and Muller: the low bits of a single one tell
        which floating-point numbers the sum it was added to can have come from (Holohan and Braghin, 2021).
        """
        half = (count + 1) // 2
        total = torch.zeros(2 * half, dtype=torch.float64)
        for _ in range(4):
            radius = self.uniform(half).neg_().add_(1).log_().mul_(-2).sqrt_()  # of (0, 1], so the log is finite
            angle = self.uniform(half).mul_(TWO_PI)
            total += torch.cat([radius * angle.cos(), radius * angle.sin()])
        return total.mul_(0.5)[:count]

    def chosen(self, count: int, rate: float) -> Tensor:
        """Which of so many examples are in a Poisson sample: each by itself, with this probability."""
        return torch.nonzero(self.uniform(count) < rate).reshape(-1)
