"""What is made of a sum: means of changes, steps against gradients, and slots that nobody sends."""

import numpy as np
import pytest

from bract.adapter.initial import draw
from bract.adapter.layout import Layout, Module
from bract.secure_sum.grid import Grid
from bract.secure_sum.rounds import RoundOfSum
from strategies.server_optimizer import MOMENTUM, Moments, ServerOptimizer
from strategies.sums import Summed

LAYOUT = Layout((Module("q", 12, 7), Module("v", 5, 9)), rank=3)
OPTIMIZER = ServerOptimizer("momentum", 0.5, 2.0)
UNION = np.array([1, 4])


@pytest.mark.parametrize("kind", ["changes", "gradients", "clients"])
@pytest.mark.parametrize("union", [None, UNION], ids=["all", "some"])
def test_what_follows_from_a_sum(kind, union):
    before, rng = draw(LAYOUT, 0, pooled=False), np.random.default_rng(0)
    size = LAYOUT.size("B", union)
    of = RoundOfSum(kind, Grid.for_weighted(), size, 0.0)
    summed, moments, after = Summed(LAYOUT, of, ("B",), union), Moments(), dict(before)
    where = LAYOUT.positions("B", np.arange(LAYOUT.slots) if union is None else union)
    still = np.setdiff1d(np.arange(LAYOUT.size("B")), where)
    expected, mean = before["B"].astype(np.float64), np.zeros(size)
    for step in (1, 2):
        total = rng.normal(size=size)
        after, moments = summed.after(after, of.grid.encode(total), 4.0, OPTIMIZER, moments)
        if kind == "gradients":
            mean = MOMENTUM * mean + (1 - MOMENTUM) * total / 4
            expected[where] -= 0.5 * 2.0 * mean / (1 - MOMENTUM**step)
        else:
            expected[where] += total / 4
        np.testing.assert_allclose(after["B"], expected, atol=1e-6)
        assert (after["B"][still] == before["B"][still]).all()
        assert (after["A"] == before["A"]).all()
    # Slots that were sent once and are not any more do not move on by what the optimizer remembers of them.
    fewer = Summed(LAYOUT, RoundOfSum(kind, of.grid, LAYOUT.size("B", UNION[:1]), 0.0), ("B",), UNION[:1])
    last, _ = fewer.after(after, np.zeros(fewer.of.values, dtype=np.int64), 4.0, OPTIMIZER, moments)
    gone = LAYOUT.positions("B", UNION[1:])
    assert (last["B"][gone] == after["B"][gone]).all()
