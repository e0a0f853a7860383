"""The members of a federation as their operators know them: registered public keys, and what is signed by them.

A roster is exchanged outside the server, which could otherwise invent all members but one. A key stands for its member
by its value alone: the uncompressed point of X9.62, 97 bytes.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bract.errors import BractError
from bract.files import require_private

NODE_KEY = "BRACT_NODE_KEY"  # of the environment, set by `bract node`: where the node's own private key lies
KIND = b"ecdsa-sha2-nistp384"  # of all nodes' keys (`bract keys node`), in OpenSSH's words
POINT = 97  # bytes of a key's value
SHOWN = 16  # hexadecimal digits of a fingerprint


def read_roster(path: Path) -> frozenset[bytes]:
    """The registered public keys of all members.

    Guaranteed: every line was a key, a comment or empty, no key stood there twice, and only this user or root could
    have written them. Not guaranteed: that those are the members; that is what operators compare fingerprints for.
    """
    return frozenset(read_keys(path, "the roster"))


def read_keys(path: Path, what: str) -> dict[bytes, str]:
    """The public keys of a file, in its order, each with the line that it stood in."""
    require_private(path, what, secret=False)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BractError(f"{what} {path} cannot be read: {error.strerror}") from error
    found: dict[bytes, str] = {}
    at: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.strip()
        if not words or words.startswith(b"#"):
            continue
        point = _point_in(words)
        if point is None:
            raise BractError(f"{what} {path}, line {number}: should be a key as bract keys node writes it to .pub")
        if point in found:
            raise BractError(f"{what} {path}, line {number}: the same key as in line {at[point]}")
        found[point], at[point] = words.decode("utf-8", "replace"), number
    if not found:
        raise BractError(f"{what} {path} holds no key")
    return found


def fingerprint(keys: Iterable[bytes]) -> str:
    """What operators compare by telephone: equal for the same keys, whatever their order and the comments beside them.

    Not guaranteed: that a member who chooses its own key last cannot find two rosters with one fingerprint. It is
    short enough to be read out; with a member of that kind the files themselves have to be compared.
    """
    return hashlib.sha256(b"".join(sorted(set(keys)))).hexdigest()[:SHOWN]


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A node's private key, which nobody but its owner may read."""
    require_private(path, "the node's key", secret=True)
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BractError(f"the node's key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):  # a library's words about a secret are nobody's to read
        raise BractError(f"the node's key {path} should be one that bract keys node made") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise BractError(f"the node's key {path} should be one that bract keys node made: a key on the curve P-384")
    return key


def point_of(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """A key's value: that of a public key, or of the one that belongs to a private one."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """A node's signature: ECDSA with SHA-384.

    Guaranteed: the same bytes for the same message (RFC 6979), so that a reply that is asked for again is the same.
    """
    return key.sign(message, ec.ECDSA(hashes.SHA384(), deterministic_signing=True))


def verify(point: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this key signed this message. Of bytes that are no key or no signature: no."""
    try:
        if len(point) != POINT:  # a key has one value, and not a compressed one beside it
            return False
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
        key.verify(signature, message, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _point_in(words: bytes) -> bytes | None:
    """The value of the key in a line; None where it is not one of a node's."""
    if words.split(None, 1)[0] != KIND:
        return None
    try:
        key = serialization.load_ssh_public_key(words)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        return None
    return point_of(key)
