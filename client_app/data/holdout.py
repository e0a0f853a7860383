"""Which of a node's examples are held out: by a hash under the node's own key, one by one."""

import hmac
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bract.files import node_secret

Cells = tuple[str, ...]


def held_out(examples: Sequence[Cells], share: float) -> NDArray[np.bool_]:
    """Whether each example is held out.

    Guaranteed: it depends on the example, the share and the node's secret alone. So one example more or less moves no
    other, it is the same in every run, and nobody who does not know the secret can choose or tell it. Of many examples
    about this share is held out; two with the same cells are on the same side.
    """
    secret, below = node_secret(), share * 2.0**64
    return np.array([_number(secret, cells) < below for cells in examples], dtype=bool)


def split_name(share: float) -> str:
    """Tells one way to hold out from another: of the node's secret and the share."""
    return hmac.digest(node_secret(), f"split {share:g}".encode(), "sha256").hex()[:16]


def _number(secret: bytes, cells: Cells) -> int:
    written = [cell.encode("utf-8", "surrogatepass") for cell in cells]
    message = b"holdout" + b"".join(len(cell).to_bytes(8, "little") + cell for cell in written)
    return int.from_bytes(hmac.digest(secret, message, "sha256")[:8], "little")
