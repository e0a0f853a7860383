"""Shamir's secret sharing of 32 bytes, modulo a prime just above 2**256."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from bract.errors import BractError

PRIME = 2**256 + 297
SHARE = 33  # bytes, little-endian


def deal(secret: bytes, coefficients: Sequence[int], points: Sequence[int]) -> list[bytes]:
    """A share for each point: the polynomial with these coefficients behind the secret, at the point.

    Guaranteed: where the coefficients are uniform below the prime and secret, any `len(coefficients)` shares say
    nothing of the secret, and one more gives it. Points are above 0.
    """
    polynomial = [*reversed(coefficients), int.from_bytes(secret, "little")]
    found = []
    for x in points:
        value = 0
        for coefficient in polynomial:
            value = (value * x + coefficient) % PRIME
        found.append(value.to_bytes(SHARE, "little"))
    return found


def recover(shares: Mapping[int, bytes]) -> bytes:
    """The secret of shares by their points. Wrong shares give a wrong secret, or a BractError: check what comes."""
    factors = _factors(tuple(shares))
    pieces = (int.from_bytes(share, "little") for share in shares.values())
    value = sum(factor * piece for factor, piece in zip(factors, pieces, strict=True))
    if (value := value % PRIME) >= 2**256:
        raise BractError("shares do not give a secret")
    return value.to_bytes(32, "little")


@lru_cache(maxsize=64)
def _factors(xs: tuple[int, ...]) -> list[int]:
    """Lagrange's, at 0: the same for all secrets of which the same members send shares."""
    found = []
    for x in xs:
        above, below = 1, 1
        for other in xs:
            if other != x:
                above = above * -other % PRIME
                below = below * (x - other) % PRIME
        found.append(above * pow(below, -1, PRIME) % PRIME)
    return found
