"""A body of data as its ledger knows it: by its name, and by digests of its examples under the node's own key."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]  # sorted, each once

SHARED = 0.1  # of the smaller one's examples: two bodies that share so many are one. Some common texts are no body.


def no_digests() -> Digests:
    """Of a body that is known by its name alone."""
    return np.zeros(0, dtype=np.uint64)


@dataclass(frozen=True)
class Body:
    """Whose privacy is spent.

    A node's own data (`own`) are known by the name that their operator gave them and by what is in them, so that a
    copy, a new name, more rows, half of them, another partition id or a second node on this machine all find the same
    ledger. In a simulation a client's data are known by their source and its partition id.
    """

    source: str
    partition: int
    name: str = ""
    digests: Digests = field(default_factory=no_digests, compare=False)
    own: bool = False

    def is_that(self, names: Iterable[str], digests: Digests) -> bool:
        """Whether a ledger of these names and digests is its own."""
        if self.name and self.name in names:
            return True
        smaller = min(len(self.digests), len(digests))
        shared = len(np.intersect1d(self.digests, digests, assume_unique=True))
        return bool(smaller) and shared >= max(1.0, SHARED * smaller)


def digests_of(rows: Iterable[tuple[str, ...]], secret: bytes, kind: str) -> Digests:
    """Digests that say nothing to anyone without the secret; `kind` keeps examples and persons apart."""
    found = np.fromiter((keyed(row, secret, kind) for row in rows), dtype=np.uint64)
    return np.unique(found)


def keyed(cells: tuple[str, ...], secret: bytes, kind: str) -> int:
    """64 bits of a keyed hash of these cells."""
    written = [cell.encode("utf-8", "surrogatepass") for cell in cells]
    message = kind.encode() + b"".join(len(cell).to_bytes(8, "little") + cell for cell in written)
    return int.from_bytes(hmac.digest(secret, message, "sha256")[:8], "little")
