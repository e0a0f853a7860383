import itertools

import numpy as np
import pytest

from bract.payload import Payload, PayloadError
from strategies.merge import ExactSum, WeightedMean


def test_a_mean_that_a_reader_can_check():
    mean = WeightedMean({"B": 2})
    mean.add(1, Payload(1, {"B": np.array([1.0, 2.0], np.float32)}))
    mean.add(3, Payload(1, {"B": np.array([5.0, -2.0], np.float32)}))
    assert mean.result()["B"].tolist() == [4.0, -1.0]


def test_no_order_changes_a_bit():
    rng = np.random.default_rng(0)
    terms = [(float(w), rng.normal(size=50).astype(np.float32) * 10.0**e)
             for w, e in zip([1, 7, 1000, 3, 99999], [0, -8, 3, -3, -12], strict=True)]  # fmt: skip
    results = set()
    plain = set()
    for order in itertools.permutations(terms):
        total = ExactSum(50)
        for weight, values in order:
            total.add(weight, values)
        results.add(total.value().tobytes())
        plain.add(sum((np.float32(w) * v for w, v in order), np.zeros(50, np.float32)).tobytes())
    assert len(results) == 1
    assert len(plain) > 1  # what it protects from is real


def test_the_sum_is_as_good_as_float64s():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 1000)).astype(np.float32) * 1e-3
    weights = rng.integers(1, 5000, size=300).astype(float)
    total = ExactSum(1000)
    for weight, row in zip(weights, values, strict=True):
        total.add(weight, row)
    exact = np.array([np.sum(weights * column.astype(np.longdouble)) for column in values.T])
    assert np.abs(total.value() - exact).max() < 1e-12


def test_named_positions_alone_are_touched():
    total = ExactSum(5)
    total.add(2.0, np.array([1.0, 3.0], np.float32), np.array([4, 1]))
    assert total.value().tolist() == [0, 6, 0, 0, 2]


def test_a_value_out_of_bounds_is_refused_and_leaves_no_trace():
    mean = WeightedMean({"A": 1, "B": 1})
    mean.add(1, Payload(1, {"A": np.ones(1, np.float32), "B": np.ones(1, np.float32)}))
    bad = Payload(1, {"A": np.full(1, 9.0, np.float32), "B": np.full(1, 1e30, np.float32)})
    with pytest.raises(PayloadError, match="out of all bounds"):
        mean.add(1, bad)
    assert {k: v.tolist() for k, v in mean.result().items()} == {"A": [1.0], "B": [1.0]}
