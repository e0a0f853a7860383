"""Which of a node's examples are held out: by a hash under the node's own key, one by one."""

import hmac
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bract.files import node_secret
from bract.privacy.digests import keyed

Cells = tuple[str, ...]


def held_out(examples: Sequence[Cells], share: float) -> NDArray[np.bool_]:
    """Whether each example is held out.

    Guaranteed: it depends on the example, the share and the node's secret alone. So one example more or less moves no
    other, it is the same in every run, and nobody who does not know the secret can choose or tell it. Of many examples
    about this share is held out; two with the same cells are on the same side.
    """
    secret, below = node_secret(), share * 2.0**64
    return np.array([keyed(cells, secret, "holdout") < below for cells in examples], dtype=bool)


def split_name(share: float, columns: Sequence[str]) -> str:
    """Tells one way to hold out from another: of the node's secret, the share, and the columns that are hashed."""
    return hmac.digest(node_secret(), json.dumps([share, *columns]).encode(), "sha256").hex()[:16]
