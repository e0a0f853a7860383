"""What members of a sum agree on before its first round: parameters, public keys, and sealed shares of what is secret.

A member has one secret of 32 bytes for a set-up, of which everything else follows (HKDF-SHA256), so that a request
that comes again gets the same bytes. For each round it has a mask key of its own (X25519) and a self-mask secret; of
both every other member holds a share, sealed for it alone.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bract.errors import BractError
from bract.secure_sum import shamir
from bract.secure_sum.neighbours import degree, neighbours

LABEL = b"bract secure sum 1 "
ROUNDS = 32  # that one set-up serves, at most
BOXES = 2**26  # bytes of boxes that the server keeps of a set-up, where it serves more than one round
MEMBERS = 4096
KEY = 32  # bytes of a key, public or private, and of a secret
BLOCK = 170  # coefficients that are made of one key
COEFFICIENT = 48  # bytes of which one is made: so many more than the prime has that it is as good as uniform
SEALED = 2 * shamir.SHARE + 16
FEWEST = 3  # members of a sum


def info(label: str, *numbers: int) -> bytes:
    """What a key is for."""
    return LABEL + label.encode() + b"".join(number.to_bytes(4, "little") for number in numbers)


def derived(secret: bytes, what: bytes, salt: bytes = b"", length: int = KEY) -> bytes:
    """A key made of a secret."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=what).derive(secret)


@dataclass(frozen=True)
class Parameters:
    """What is public and the same for all, for as long as a set-up lasts. Members are numbered by their place here."""

    federation: str
    generation: int
    members: tuple[int, ...]  # partition ids, rising
    first: int  # number of the first round that it serves
    rounds: int
    colluders: int  # members that may work for the server
    survivors: int  # fewest whose vectors are added
    threshold: int  # shares that give a secret, of those that its neighbours have
    signed: bool = False  # key messages carry signatures, and rounds are confirmed

    @staticmethod
    def of(
        federation: str,
        generation: int,
        members: Sequence[int],
        first: int,
        rounds: int,
        *,
        colluders: int = 0,
        survivors: int = 0,
        signed: bool = False,
    ) -> "Parameters":
        """For as many of these rounds as it may serve; where `colluders` or `survivors` is 0, a fifth of the members.

        So many may collude, and so many may be lost.
        """
        n = len(members)
        c = colluders or max(1, n // 5)
        f = survivors or n - n // 5
        right = n >= FEWEST and 0 < c < n and 0 < f <= n
        threshold = degree(n, c, f)[1] if right else n
        rounds = rounds_of(n, c, f, rounds) if right else rounds
        found = Parameters(federation, generation, tuple(sorted(members)), first, rounds, c, f, threshold, signed)
        found.require()
        return found

    @property
    def honest(self) -> int:
        """Members that are honest in every sum, for certain: so many shares of noise are in it."""
        return self.survivors - self.colluders

    @property
    def confirmations(self) -> int:
        """Members that must sign the same survivors: of two such sets an honest one would be in both."""
        return (len(self.members) + self.colluders) // 2 + 1

    def neighbours(self, print_: bytes) -> tuple[tuple[int, ...], ...]:
        """Of each member, by its place, the others with which it shares masks and secrets."""
        n = len(self.members)
        return neighbours(n, degree(n, self.colluders, self.survivors)[0], print_)

    def require(self) -> None:
        """Raise BractError where these numbers do not keep the promise."""
        n, c, f = len(self.members), self.colluders, self.survivors
        if not FEWEST <= n <= MEMBERS or list(self.members) != sorted(set(self.members)) or self.members[0] < 0:
            raise BractError(f"a secure sum needs at least {FEWEST} members, each once; there are {n}")
        if not 0 <= c < n or f > n or self.honest < 2:
            raise BractError(
                f"federation.colluders = {c}, federation.survivors = {f} of {n} members: at least 2 honest ones should "
                "be left; assume fewer colluders or ask for more survivors"
            )
        if self.confirmations > f or self.threshold != degree(n, c, f)[1]:
            raise BractError(
                f"federation.colluders = {c}, federation.survivors = {f} of {n} members: {self.confirmations} are "
                "needed to agree on what is unmasked, more than survive; ask for more survivors"
            )
        if not 0 < self.rounds <= ROUNDS or not 0 < self.first < 2**31 or not 0 <= self.generation < 2**31:
            raise BractError("a set-up's rounds or generation are out of bounds")

    def serves(self, number: int) -> bool:
        """Whether it has keys for this round."""
        return self.first <= number < self.first + self.rounds

    def to_text(self) -> str:
        """For a message, a signature, a file."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> "Parameters":
        """Read what another side wrote; what does not keep the promise is refused."""
        try:
            value: dict[str, Any] = json.loads(text)
            members = tuple(value["members"])
            whole = [*members, *(value[name] for name in NUMBERS)]
            kinds = type(value["federation"]) is str and type(value["signed"]) is bool
            if set(value) != set(FIELDS) or not kinds or any(type(number) is not int for number in whole):
                raise ValueError("not these fields")
            found = Parameters(**{**value, "members": members})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BractError(f"a set-up that cannot be read ({type(error).__name__})") from error
        found.require()
        return found


FIELDS = tuple(Parameters.__dataclass_fields__)
NUMBERS = tuple(name for name in FIELDS if name not in ("federation", "members", "signed"))


@dataclass(frozen=True)
class Keys:
    """A member's public keys for a set-up: of boxes, and for each round of masks and the digest of its own secret."""

    box: bytes
    masks: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    run: bytes = b""  # Ed25519, to confirm rounds with
    signature: bytes = b""  # of its node's registered key over all of this

    def body(self) -> bytes:
        """All but the signature."""
        return b"".join((self.box, *self.masks, *self.digests, self.run))

    def signed_part(self, parameters: Parameters, member: int) -> bytes:
        """What the node's key signs."""
        return info("keys", member) + parameters.to_text().encode() + self.body()

    def to_bytes(self) -> bytes:
        """For a message."""
        return struct.pack("<H", len(self.signature)) + self.body() + self.signature

    @staticmethod
    def from_bytes(data: bytes, parameters: Parameters) -> "Keys":
        """Read what another side wrote; every length must be as the parameters say."""
        rounds, run = parameters.rounds, KEY if parameters.signed else 0
        length = KEY * (1 + 2 * rounds) + run
        if len(data) < 2 or len(data) != 2 + length + struct.unpack_from("<H", data)[0]:
            raise BractError("a key message is not as long as it should be")
        body, signature = data[2 : 2 + length], data[2 + length :]
        if bool(signature) != parameters.signed:
            raise BractError("a key message should be signed, or should not")
        pieces = [body[at : at + KEY] for at in range(0, length, KEY)]
        found = Keys(
            pieces[0],
            tuple(pieces[1 : 1 + rounds]),
            tuple(pieces[1 + rounds : 1 + 2 * rounds]),
            pieces[1 + 2 * rounds] if run else b"",
            signature,
        )
        for public in (found.box, *found.masks):
            if not any(public):
                raise BractError("a key message holds a key of zeros")
        return found


def rounds_of(members: int, colluders: int, survivors: int, wanted: int) -> int:
    """How many rounds a set-up serves: those that are wanted, as far as the server's memory for boxes goes."""
    boxes = members * degree(members, colluders, survivors)[0] * SEALED
    return max(1, min(ROUNDS, wanted, BOXES // boxes))


def print_of(parameters: Parameters, messages: Sequence[bytes]) -> bytes:
    """The digest of a whole set-up: whoever has it has agreed on all keys and parameters."""
    digest = hashlib.sha256(info("print") + parameters.to_text().encode())
    for message in messages:
        digest.update(len(message).to_bytes(4, "little") + message)
    return digest.digest()


@dataclass(frozen=True)
class Secrets:
    """A member's secrets for a set-up: all of them follow from its seed."""

    seed: bytes

    @cached_property
    def box(self) -> X25519PrivateKey:
        """For what is sealed for this member."""
        return X25519PrivateKey.from_private_bytes(derived(self.seed, info("box")))

    @cached_property
    def run(self) -> Ed25519PrivateKey:
        """With which it confirms rounds."""
        return Ed25519PrivateKey.from_private_bytes(derived(self.seed, info("run")))

    def mask(self, number: int) -> bytes:
        """The private key of a round's masks."""
        return derived(self.seed, info("mask", number))

    def own(self, number: int) -> bytes:
        """The secret of a round's own mask."""
        return derived(self.seed, info("self", number))

    def keys(self, parameters: Parameters) -> Keys:
        """What is public of them; not signed yet."""
        numbers = range(parameters.first, parameters.first + parameters.rounds)
        return Keys(
            self.box.public_key().public_bytes_raw(),
            tuple(public_of(self.mask(m)) for m in numbers),
            tuple(hashlib.sha256(self.own(m)).digest() for m in numbers),
            self.run.public_key().public_bytes_raw() if parameters.signed else b"",
        )

    def shares(self, what: str, number: int, parameters: Parameters, receivers: Sequence[int]) -> list[bytes]:
        """Of a round's mask key (`mask`) or own secret (`self`), one for each of these members."""
        secret = self.mask(number) if what == "mask" else self.own(number)
        count = parameters.threshold - 1
        pieces = [derived(self.seed, info(f"deal {what}", number), length=COEFFICIENT * min(count, BLOCK))]
        for more in range(BLOCK, count, BLOCK):  # a key is at most 255 digests long
            length = COEFFICIENT * min(count - more, BLOCK)
            pieces.append(derived(self.seed, info(f"deal {what}", number, more), length=length))
        stream = b"".join(pieces)
        numbers = (stream[at : at + COEFFICIENT] for at in range(0, len(stream), COEFFICIENT))
        coefficients = [int.from_bytes(one, "little") % shamir.PRIME for one in numbers]
        return shamir.deal(secret, coefficients, [receiver + 1 for receiver in receivers])

    def boxes(self, parameters: Parameters, mine: int, keys: Sequence[Keys], print_: bytes) -> bytes:
        """Sealed shares for every neighbour, in order of members and then of rounds."""
        numbers = range(parameters.first, parameters.first + parameters.rounds)
        receivers = parameters.neighbours(print_)[mine]
        dealt = {m: [self.shares(what, m, parameters, receivers) for what in ("mask", "self")] for m in numbers}
        found = []
        for place, other in enumerate(receivers):
            cipher = ChaCha20Poly1305(self._box_key(keys[other].box, mine, other, print_))
            for m, (masks, owns) in dealt.items():
                found.append(cipher.encrypt(_nonce(m), masks[place] + owns[place], info("ad", m, mine, other)))
        return b"".join(found)

    def opened(
        self, box: bytes, sender: int, mine: int, number: int, public: bytes, print_: bytes
    ) -> tuple[bytes, bytes]:
        """The shares of a sender's mask key and own secret that a box holds; BractError if it is not for this."""
        cipher = ChaCha20Poly1305(self._box_key(public, sender, mine, print_))
        try:
            plain = cipher.decrypt(_nonce(number), box, info("ad", number, sender, mine))
        except InvalidTag:
            raise BractError("a box of shares is not for this member and round") from None
        return plain[: shamir.SHARE], plain[shamir.SHARE :]

    def _box_key(self, public: bytes, sender: int, receiver: int, print_: bytes) -> bytes:
        return derived(shared(self.box, public), info("box", sender, receiver), print_)


def public_of(private: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared(private: X25519PrivateKey, public: bytes) -> bytes:
    """What two members know and nobody else."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise BractError("a public key is none") from None


def box_of(boxes: bytes, parameters: Parameters, receivers: Sequence[int], receiver: int, number: int) -> bytes:
    """One box of all that a sender has sealed for its `receivers`."""
    place = receivers.index(receiver) * parameters.rounds + number - parameters.first
    return boxes[place * SEALED : (place + 1) * SEALED]


def _nonce(number: int) -> bytes:
    return number.to_bytes(4, "little") + bytes(8)
