"""How the masks come off a sum: what survivors' own masks and the lost ones' pair masks are made of, from shares."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from bract.errors import BractError
from bract.secure_sum import shamir
from bract.secure_sum.masks import Context, add_stream, own_key, pair_key
from bract.secure_sum.setup import KEY, Keys, Parameters, public_of
from bract.secure_sum.vector import Words

TRIES = 400  # sets of shares, where some are wrong


@dataclass(frozen=True)
class Answer:
    """A member's part in unmasking: of each neighbour's one secret a share, and its own self-mask secret."""

    shares: Mapping[int, bytes]
    own: bytes = b""

    @staticmethod
    def of(others: Sequence[int], shares: object, own: object) -> "Answer":
        """Read what a member sent of these neighbours that were asked; every length must be right."""
        if not isinstance(shares, bytes) or len(shares) != shamir.SHARE * len(others):
            raise BractError("its shares are not one of each neighbour that was asked")
        if not isinstance(own, bytes) or len(own) not in (0, KEY):
            raise BractError("its own secret is not as long as it should be")
        pieces = (shares[at : at + shamir.SHARE] for at in range(0, len(shares), shamir.SHARE))
        return Answer(dict(zip(others, pieces, strict=True)), own)


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
    of what the survivors put in, or a BractError. A wrong share is left out where enough right ones are there.
    """
    alive, near = sorted(survivors), parameters.neighbours(context.print)
    lost = sorted(set(asked) - set(alive))
    at = context.number - parameters.first
    for member in alive:
        secret = _secret(member, answers, parameters, _digest, keys[member].digests[at])
        add_stream(total, own_key(secret, context, member), -1)
    for member in lost:
        private = _secret(member, answers, parameters, public_of, keys[member].masks[at])
        for other in sorted(
            set(near[member]) & set(alive)
        ):  # which has added the stream where its place is the lower one, else taken it away
            key = pair_key(private, keys[other].masks[at], context, member, other)
            add_stream(total, key, -1 if member > other else 1)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _secret(
    member: int,
    answers: Mapping[int, Answer],
    parameters: Parameters,
    public: Callable[[bytes], bytes],
    known: bytes,
) -> bytes:
    """A member's secret, whose `public` is `known`: as it told itself, or of enough others' shares."""
    told = answers.get(member)
    if told is not None and told.own and public(told.own) == known:
        return told.own
    shares = {other + 1: answer.shares[member] for other, answer in answers.items() if member in answer.shares}
    for points in islice(combinations(sorted(shares), parameters.threshold), TRIES):
        try:
            found = shamir.recover({x: shares[x] for x in points})
        except BractError:
            continue
        if public(found) == known:
            return found
    raise BractError(
        f"the masks of client {parameters.members[member]} cannot be taken off: {len(shares)} shares came, "
        f"{parameters.threshold} right ones are needed"
    )
