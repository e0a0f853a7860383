"""HetLoRA's self-pruning: the tail of a client's ranks, its penalty, and whether it goes.

tail(r) = ranks from c = max(floor(keep · r), least) on, in every module
size    = ‖B_tail‖_F · ‖A_tail‖_F, each norm over all modules together
loss    = F_k + penalty · size;   after training: size < size at the start  =>  r <- c
"""

import math

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Vector
from bract.wire.plan import Prune


def kept_rank(rank: int, prune: Prune) -> int:
    """The rank that is left if the tail goes; the same rank where there is no tail."""
    # What floor(0.7 * 10) = 7 means should not hang on 0.7 * 10 = 6.999...: so to nine digits.
    return min(rank, max(prune.least, math.floor(round(prune.keep * rank, 9))))


def tail(layout: Layout, rank: int, prune: Prune) -> NDArray[np.int64]:
    """The slots of the tail; none where the rank cannot shrink."""
    inside = layout.first(rank)
    return inside[inside % layout.rank >= kept_rank(rank, prune)]


def size(layout: Layout, a: Vector, b: Vector, slots: NDArray[np.int64]) -> float:
    """‖B_tail‖ · ‖A_tail‖."""
    return float(
        np.linalg.norm(a[layout.positions("A", slots)].astype(np.float64))
        * np.linalg.norm(b[layout.positions("B", slots)].astype(np.float64))
    )
