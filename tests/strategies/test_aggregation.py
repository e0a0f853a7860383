import itertools

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module
from bract.wire.payload import Payload, PayloadError
from strategies.aggregation import ExactSum, WeightedChange, WeightedMean

# One module, two ranks: A has rows of two, B of one.
LAYOUT = Layout((Module("m", 2, 1),), rank=2)


def b(values, slots=None):
    return Payload(1, {"B": np.array(values, np.float32)}, None if slots is None else np.array(slots))


def test_a_mean_that_a_reader_can_check():
    mean = WeightedMean(LAYOUT, ["B"])
    mean.add(0, 1, b([1.0, 2.0]))
    mean.add(1, 3, b([5.0, -2.0]))
    assert mean.result({})["B"].tolist() == [4.0, -1.0]


def test_what_a_client_did_not_send_counts_as_zero():
    mean = WeightedMean(LAYOUT, ["A", "B"])
    mean.add(0, 1, Payload(1, {"A": np.array([4, 8], np.float32), "B": np.array([4], np.float32)}, np.array([0])))
    mean.add(1, 3, Payload(1, {"A": np.full(4, 4, np.float32), "B": np.array([0, 8], np.float32)}))
    found = mean.result({})
    assert found["A"].tolist() == [4.0, 5.0, 3.0, 3.0]  # (4+12)/4, (8+12)/4, 12/4, 12/4
    assert found["B"].tolist() == [1.0, 6.0]


@pytest.mark.parametrize(("selected", "wanted"), [(False, [10.5, 21.5]), (True, [12.0, 21.5])])
def test_changes_are_added_and_what_was_not_sent_did_not_change(selected, wanted):
    # Slot 0: client 0 alone (weight 1) says +2. Slot 1: +3 by 1 and +1 by 3.
    mean = WeightedChange(LAYOUT, ["B"], selected=selected)
    mean.add(0, 1, b([2.0, 3.0]))
    mean.add(1, 3, b([1.0], slots=[1]))
    assert mean.result({"B": np.array([10, 20], np.float32)})["B"].tolist() == wanted


def test_a_slot_that_nobody_sent_stays():
    mean = WeightedChange(LAYOUT, ["B"], selected=True)
    mean.add(0, 5, b([2.0], slots=[1]))
    assert mean.result({"B": np.array([10, 20], np.float32)})["B"].tolist() == [10.0, 22.0]


def test_no_order_changes_a_bit():
    rng = np.random.default_rng(0)
    terms = [
        (float(w), rng.normal(size=50).astype(np.float32) * 10.0**e)
        for w, e in zip([1, 7, 1000, 3, 99999], [0, -8, 3, -3, -12], strict=True)
    ]
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
    layout = Layout((Module("m", 1, 1),), rank=1)
    mean = WeightedMean(layout, ["A", "B"])
    mean.add(0, 1, Payload(1, {"A": np.ones(1, np.float32), "B": np.ones(1, np.float32)}))
    bad = Payload(1, {"A": np.full(1, 9.0, np.float32), "B": np.full(1, 1e30, np.float32)})
    with pytest.raises(PayloadError, match="out of all bounds"):
        mean.add(1, 1, bad)
    assert {k: v.tolist() for k, v in mean.result({}).items()} == {"A": [1.0], "B": [1.0]}
