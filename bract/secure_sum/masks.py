"""The masks of a round: keystreams that cancel in the sum, bound to all that its members must have alike."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from bract.secure_sum.setup import derived, info, shared
from bract.secure_sum.vector import Shape, Words
from bract.wire.plan import KEY, Plan


@dataclass(frozen=True)
class Context:
    """What a round's masks are bound to: they cancel only between members that have all of it alike."""

    number: int
    print: bytes
    digest: bytes

    @staticmethod
    def of(
        number: int,
        print_: bytes,
        plan: Plan,
        model: bytes,
        asked: Iterable[int],
        shape: Shape,
        union: NDArray[np.int64] | None,
        *,
        measured: bool,
    ) -> "Context":
        """Of a plan without what differs between members, the model that came down, who was asked, and what is sent."""
        common = replace(plan, joined=0, rank=None)
        digest = hashlib.sha256(info("context", number))
        pieces = (
            str(common.to_record()[KEY]).encode(),
            model,
            b"".join(member.to_bytes(4, "little") for member in sorted(asked)),
            shape.to_bytes(),
            b"all" if union is None else union.astype("<i8").tobytes(),
            bytes([measured]),  # else one member alone could be asked for its figures
        )
        for piece in pieces:
            digest.update(hashlib.sha256(piece).digest())
        return Context(number, print_, digest.digest())


def own_key(secret: bytes, context: Context, member: int) -> bytes:
    """The key of a member's own mask."""
    return derived(secret, info("own", context.number, member) + context.digest, context.print)


def pair_key(private: bytes, public: bytes, context: Context, one: int, other: int) -> bytes:
    """The key of the mask that two members share."""
    low, high = min(one, other), max(one, other)
    secret = shared(X25519PrivateKey.from_private_bytes(private), public)
    return derived(secret, info("pair", context.number, low, high) + context.digest, context.print)


def add_stream(words: Words, key: bytes, sign: int) -> None:
    """Add or take away a keystream (AES-256 in counter mode), in place, modulo the words' size."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    stream = memoryview(cipher.update(bytes(words.shape.size)))
    split = words.values.nbytes
    for into, piece in ((words.values, stream[:split]), (words.figures, stream[split:])):
        more = np.frombuffer(piece, dtype=into.dtype.newbyteorder("<"))
        if sign > 0:
            into += more
        else:
            into -= more


def mask(
    words: Words,
    context: Context,
    mine: int,
    private: bytes,
    own: bytes,
    others: Iterable[int],
    publics: Mapping[int, bytes],
) -> None:
    """Mask a member's words in place: with its own stream, and one for each neighbour that was asked."""
    add_stream(words, own_key(own, context, mine), 1)
    for other in others:
        if other != mine:
            add_stream(words, pair_key(private, publics[other], context, mine, other), 1 if other > mine else -1)
