"""HetLoRA's tail, its size and its rank, by hand."""

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module
from bract.directives.prune import Prune, kept_rank, size, tail

LAYOUT = Layout((Module("m", 2, 1), Module("n", 1, 2)), rank=2)
A = np.array([3, 4, 0, 1, 2, 1], np.float32)
B = np.array([1, 2, 3, 4, 0, -2], np.float32)


@pytest.mark.parametrize(
    ("keep", "rank", "least", "left"),
    [
        (0.99, 8, 1, 7),  # floor(7.92)
        (0.99, 1, 1, 1),  # floor(0.99) = 0, but not below one
        (0.5, 8, 1, 4),
        (0.5, 8, 6, 6),
        (0.5, 4, 6, 4),  # never grows
        (0.7, 10, 1, 7),  # 0.7 * 10 is 6.999... in floating point
        (1.0, 8, 1, 8),
    ],
)
def test_the_rank_that_is_left(keep, rank, least, left):
    assert kept_rank(rank, Prune(keep, 0.0, least)) == left


def test_the_tail_and_its_size():
    assert tail(LAYOUT, 2, Prune(0.5, 0.0)).tolist() == [1, 3]
    assert tail(LAYOUT, 1, Prune(0.5, 0.0)).tolist() == []
    # B: 2 and (0, -2): norm sqrt(8). A: (0, 1) and 1: norm sqrt(2).
    assert size(LAYOUT, A, B, tail(LAYOUT, 2, Prune(0.5, 0.0))) == pytest.approx(4.0)
