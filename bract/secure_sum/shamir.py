"""Shamir's secret sharing of 32 bytes, modulo a prime just above 2**256."""

from collections.abc import Mapping, Sequence

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
    xs = list(shares)
    total = 0
    for x in xs:
        above, below = 1, 1
        for other in xs:
            if other != x:
                above = above * -other % PRIME
                below = below * (x - other) % PRIME
        total += int.from_bytes(shares[x], "little") * above * pow(below, -1, PRIME)
    value = total % PRIME
    if value >= 2**256:
        raise BractError("shares do not give a secret")
    return value.to_bytes(32, "little")
