"""How the masks come off a sum: what survivors' own masks and the lost ones' pair masks are made of, from shares."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb
from random import Random

from bract.errors import BractError
from bract.secure_sum import shamir
from bract.secure_sum.masks import Context, add_stream, own_key, pair_key
from bract.secure_sum.setup import Keys, Parameters, public_of
from bract.secure_sum.vector import Words

TRIES = 400  # sets of shares, where some are wrong


@dataclass(frozen=True)
class Answer:
    """A member's part in unmasking: of each neighbour's one secret a share, and of its own."""

    shares: Mapping[int, bytes]

    @staticmethod
    def of(holds: Sequence[int], shares: object) -> "Answer":
        """Read what a member sent of those of whom it holds shares, rising; its length must be right."""
        if not isinstance(shares, bytes) or len(shares) != shamir.SHARE * len(holds):
            raise BractError("its shares are not one of each neighbour that was asked, and of itself")
        pieces = (shares[at : at + shamir.SHARE] for at in range(0, len(shares), shamir.SHARE))
        return Answer(dict(zip(holds, pieces, strict=True)))


def unmask(
    total: Words,
    context: Context,
    parameters: Parameters,
    keys: Sequence[Keys],
    asked: Iterable[int],
    survivors: Iterable[int],
    answers: Mapping[int, Answer],
) -> None:
    """Take all masks off the sum of the survivors' words, in place.

    Guaranteed: every secret that is used fits what its member made public before, so that the result is the plain sum
    of what the survivors put in, or a BractError. One member's wrong shares are left out where enough right ones are
    there, and those of several members as far as `TRIES` sets of shares go.
    """
    tries = Tries(parameters.threshold)
    alive, near = sorted(survivors), parameters.neighbours(context.print)
    lost = sorted(set(asked) - set(alive))
    at = context.number - parameters.first
    for member in alive:
        digest = keys[member].digests[at]
        secret = _secret(member, answers, parameters, tries, partial(digest_fits, digest=digest))
        add_stream(total, own_key(secret, context, member), -1)
    for member in lost:
        mine = keys[member].masks[at]
        private = _secret(member, answers, parameters, tries, partial(key_fits, public=mine))
        # Who is alive has added the stream where its place is the lower one, else taken it away.
        for other in sorted(set(near[member]) & set(alive)):
            key = pair_key(private, keys[other].masks[at], context, member, other)
            add_stream(total, key, -1 if member > other else 1)


def digest_fits(secret: bytes, digest: bytes) -> bool:
    """Whether it is the self-mask secret whose digest was made public."""
    return hashlib.sha256(secret).digest() == digest


def key_fits(private: bytes, public: bytes) -> bool:
    """Whether it is the private key of what was made public."""
    return public_of(private) == public


@dataclass
class Tries:
    """Which sets of shares are tried: first the one that was right before, as who sends a wrong share sends more."""

    threshold: int
    right: tuple[int, ...] = ()

    def of(self, points: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Sets of so many of these points, at most `TRIES`: if one point is wrong, some are without it."""
        count, size = len(points), self.threshold
        if self.right and set(self.right) <= set(points):
            yield self.right
        if comb(count, size) <= TRIES:
            yield from combinations(points, size)
            return
        for start in range(count):
            yield tuple(points[(start + i) % count] for i in range(size))
        chance = Random(0)  # noqa: S311 - which shares are tried is no secret
        for _ in range(TRIES - count):
            yield tuple(chance.sample(points, size))


def _secret(
    member: int,
    answers: Mapping[int, Answer],
    parameters: Parameters,
    tries: Tries,
    fits: Callable[[bytes], bool],
) -> bytes:
    """A member's secret, of enough members' shares."""
    shares = {other + 1: answer.shares[member] for other, answer in answers.items() if member in answer.shares}
    for points in tries.of(sorted(shares)):
        try:
            found = shamir.recover({x: shares[x] for x in points})
        except BractError:
            continue
        if fits(found):
            tries.right = points
            return found
    raise BractError(
        f"the masks of client {parameters.members[member]} cannot be taken off: {len(shares)} shares came, "
        f"{parameters.threshold} right ones are needed"
    )
