"""Several local steps between two sums are not protected by noise that clients share: an exact counter-example."""

import math

import pytest

from bract.privacy.accounting import Use, epsilon
from bract.privacy.mechanism import find_for_sum
from bract.settings.read import read
from bract.settings.schema import Settings

CLIENTS, EXAMPLES, DELTA = 10, 64, 1e-5


def claimed(sigma: float) -> float:
    """Epsilon of two steps as if each were a function of released sums."""
    return epsilon([Use(sigma, 1.0, 2)], DELTA)


def true(sigma: float) -> float:
    """At least so much: of the v coordinate of the released sum of both steps, alone.

    Step 1 moves u by the example's gradient, 1, and by the client's own noise, of variance sigma²/10 (rate 1). Step 2
    adds a·u for each of the others along v, each below the clip for a small a. So v has mean n·a with the example and 0
    without, and variance n²a²sigma²/10 from the client's own noise on u, 2 sigma² from the noise of both steps on v.
    """
    slope = EXAMPLES * 0.2
    mu = slope / math.sqrt(slope**2 * sigma**2 / CLIENTS + 2 * sigma**2)
    return epsilon([Use(1 / mu, 1.0, 1)], DELTA)


@pytest.mark.parametrize(("target", "least"), [(1.0, 2.2), (3.0, 7.1), (8.0, 20.0)])
def test_two_local_steps_cost_more_than_two_compositions(target, least):
    low, high = 0.1, 100.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if claimed(middle) > target else (low, middle)
    assert claimed(high) == pytest.approx(target, rel=0.02)
    assert true(high) > least > target


def test_settings_refuse_a_second_step():
    flat = {**Settings().flat(), "federation.sum": "secure", "privacy.noise": "shared", "train.steps": 2}
    with pytest.raises(Exception, match=r"train.steps = 2: where noise is shared a client takes one step a round"):
        read(flat)
    settings = read({**flat, "train.steps": 1})
    assert find_for_sum(settings.privacy, settings.train, settings.rounds).steps == 1
