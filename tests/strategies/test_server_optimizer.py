"""The server's own steps, with numbers small enough to check by hand."""

import numpy as np
import pytest

from strategies.server_optimizer import MOMENTUM, RATES, SECOND, Moments, ServerOptimizer

PARTS = {"A": np.array([1.0], dtype=np.float32), "B": np.array([2.0], dtype=np.float32)}


def stepped(optimizer, gradients, before=None):
    return optimizer.step(PARTS, {part: np.array([g], dtype=np.float32) for part, g in gradients.items()}, before)


def test_sgd_moves_against_the_gradient_and_b_by_its_ratio():
    after, moments = stepped(ServerOptimizer("sgd", 0.5, 4.0), {"A": 1.0, "B": 0.25}, Moments())
    assert (after["A"][0], after["B"][0]) == (0.5, 1.5)
    again, _ = stepped(ServerOptimizer("sgd", 0.5, 4.0), {"A": 1.0}, moments)
    assert again["A"][0] == 0.5  # nothing of the last gradient is left
    assert again["B"][0] == 2.0  # and who has no gradient stays


def test_momentum_is_a_mean_that_is_corrected_for_its_start():
    optimizer = ServerOptimizer("momentum", 1.0, 1.0)
    after, moments = stepped(optimizer, {"A": 3.0}, Moments())
    assert after["A"][0] == pytest.approx(1 - 3)  # the first mean is of one gradient
    after, moments = stepped(optimizer, {"A": 0.0}, moments)
    weights = np.array([MOMENTUM, 1.0]) * (1 - MOMENTUM) / (1 - MOMENTUM**2)
    assert after["A"][0] == pytest.approx(1 - weights[0] * 3)
    assert moments.steps == {"A": 2}


def test_adam_divides_by_the_size_of_gradients():
    optimizer = ServerOptimizer("adam", 0.1, 2.0)
    after, moments = stepped(optimizer, {"A": 1e-3, "B": -50.0}, Moments())
    assert (after["A"][0], after["B"][0]) == (pytest.approx(0.9, rel=1e-4), pytest.approx(2.2))
    after, _ = stepped(optimizer, {"B": 50.0}, moments)
    first = (MOMENTUM * (1 - MOMENTUM) * -50 + (1 - MOMENTUM) * 50) / (1 - MOMENTUM**2)
    second = (SECOND * (1 - SECOND) * 2500 + (1 - SECOND) * 2500) / (1 - SECOND**2)
    assert after["B"][0] == pytest.approx(2 - 0.2 * first / np.sqrt(second), rel=1e-4)


@pytest.mark.parametrize("name", sorted(RATES))
def test_a_rate_of_zero_is_the_optimizers_own(name):
    own, _ = stepped(ServerOptimizer(name, 0.0, 1.0), {"A": 0.5}, Moments())
    said, _ = stepped(ServerOptimizer(name, RATES[name], 1.0), {"A": 0.5}, Moments())
    assert own["A"] == said["A"] != 1.0
