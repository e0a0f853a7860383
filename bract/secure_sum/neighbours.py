"""With whom a member of a sum shares masks and secrets: with everybody, and in large sums with some neighbours.

Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS 2020,
https://eprint.iacr.org/2020/704

The members stand on a circle, in an order that follows from the set-up's digest, which nobody chooses: a member's
neighbours are the nearest on both sides. How many there are, and how many shares give a secret, follows from the tails
of the hypergeometric distribution, for any `colluders` and any losses up to `survivors`.
"""

import hashlib
import math
from functools import lru_cache

ALL = 200  # members up to which everybody is everybody's neighbour
UNSAFE = 2.0**-40  # chance that the server and colluders get both secrets of any one member of a set-up
STUCK = 2.0**-13  # chance that a round cannot be unmasked although enough members survive


@lru_cache(maxsize=64)
def degree(members: int, colluders: int, survivors: int) -> tuple[int, int]:
    """How many neighbours a member has, and how many of their shares and its own give a secret."""
    others = members - 1
    if members <= ALL:
        return others, (members + colluders) // 2 + 1
    for count in range(20, others, 2):
        need = _shares(others, colluders, count, UNSAFE / members)
        if need <= count and members * _below(others, survivors - 1, count, need) <= STUCK:
            return count, need
    return others, (members + colluders) // 2 + 1


def neighbours(members: int, count: int, print_: bytes) -> tuple[tuple[int, ...], ...]:
    """Of each member, the others that it shares with, rising. With fewer than all, `count` is even."""
    if count >= members - 1:
        return tuple(tuple(j for j in range(members) if j != i) for i in range(members))
    order = sorted(range(members), key=lambda i: hashlib.sha256(print_ + i.to_bytes(4, "little")).digest())
    found: list[tuple[int, ...]] = [()] * members
    for at, member in enumerate(order):
        near = (order[(at + step) % members] for side in (1, -1) for step in range(side, side * (count // 2 + 1), side))
        found[member] = tuple(sorted(near))
    return tuple(found)


def _shares(others: int, colluders: int, count: int, chance: float) -> int:
    """The fewest shares that a secret may take, so that of two secrets nobody gets so many of each.

    Those who hold them are the `count` neighbours and the member itself. One that colludes gives both its shares, an
    honest one gives one. So both secrets come out only where 2 shares <= holders + colluding neighbours.
    """
    tail, many = 0.0, min(count, colluders)
    while many >= 0 and (tail := tail + _chance(others, colluders, count, many)) <= chance:
        many -= 1
    return (count + 1 + many) // 2 + 1  # where at most so many of them collude


def _below(others: int, alive: int, count: int, need: int) -> float:
    """The chance that fewer than `need` of so many neighbours are alive."""
    return math.fsum(_chance(others, alive, count, one) for one in range(need))


def _chance(others: int, marked: int, count: int, hit: int) -> float:
    """Hypergeometric: `hit` of `count` drawn are of the `marked` ones among `others`."""
    if hit > marked or count - hit > others - marked or hit < 0:
        return 0.0
    ways = _log_ways(marked, hit) + _log_ways(others - marked, count - hit) - _log_ways(others, count)
    return math.exp(ways)


def _log_ways(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)
