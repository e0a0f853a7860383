"""A body of data as its ledger knows it: by its name, and by digests of its examples under the node's own key."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from bract.privacy.digests import Digests, no_digests

# Two bodies that share this part of the smaller one's digests are one. It is small, as half of a file, or a file with
# much appended, is the same body. It is not nothing: texts that everybody has, such as "ok", must not join strangers.
SHARED = 0.1


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

    def is_that(self, names: Collection[str], digests: Digests) -> bool:
        """Whether a ledger of these names and digests is its own. Where in doubt it is: then too much is counted."""
        if self.name and self.name in names:
            return True
        smaller = min(len(self.digests), len(digests))
        return bool(smaller) and self._shared(digests) >= max(1.0, SHARED * smaller)

    def is_known(self, names: Collection[str], digests: Digests) -> bool:
        """Whether a ledger of these names and digests knows all of it."""
        return (not self.name or self.name in names) and self._shared(digests) == len(self.digests)

    def _shared(self, digests: Digests) -> int:
        return len(np.intersect1d(self.digests, digests, assume_unique=True))
