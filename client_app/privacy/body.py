"""A body of data as its ledger knows it: by its name, and by digests of its examples under the node's own key."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from bract.privacy.digests import Digests, no_digests

SHARED = 0.1  # of the smaller one's examples: two bodies that share so many are one. Some common texts are no body.


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
