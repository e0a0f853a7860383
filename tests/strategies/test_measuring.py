"""Clients' measurements put together: exact ones, and noisy ones with their margin."""

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from bract.privacy.spending import PrivacySpending
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import METRICS, PRIVACY, REPORT, spending_record
from strategies.federation import Member
from strategies.measuring import Told, figures_of, margins, measured, together
from tests.flower.messages import identify, stamp

SIGMA = 1.5
SPENDING = PrivacySpending(3.0, SIGMA, 1.0, 1, 2, ((SIGMA, 1.0, 2),))


def asked(count):
    identify()
    found = []
    for i in range(count):
        message = Message(RecordDict(), dst_node_id=7 + i, message_type="evaluate")
        found.append((stamp(message, message_id=f"m{i}"), Member(i, 7 + i)))
    return found


def answer(message, status="done", spending=None, **metrics):
    content = RecordDict({REPORT: ConfigRecord({"status": status}), METRICS: MetricRecord(metrics)})
    if spending is not None:
        content[PRIVACY] = spending_record(spending)
    return Message(content, reply_to=message)


def test_exact_ones_add_up():
    messages = asked(3)
    replies = [
        answer(messages[0][0], examples=10, correct=8, loss=5.0),
        answer(messages[1][0], examples=30, correct=10, loss=35.0),
        answer(messages[2][0], "abstained"),
    ]
    heard = []
    found = measured(replies, messages, CLASSIFICATION, lambda *one: heard.append(one))
    assert (found["accuracy"], found["loss"], found["examples"]) == (18 / 40, 1.0, 40)
    assert "accuracy_margin" not in found
    assert (found["partitions"], found["scores"], found["margins"]) == ([0, 1], [0.8, 1 / 3], [0.0, 0.0])
    assert heard == [(0, None), (1, None), (2, None)]


def test_noisy_ones_come_with_a_margin_and_their_cost():
    messages = asked(2)
    replies = [answer(m, spending=SPENDING, examples=100.4, correct=60.2, loss=90.0) for m, _ in messages]
    heard = []
    found = measured(replies, messages, CLASSIFICATION, lambda *one: heard.append(one))
    assert found["accuracy"] == pytest.approx(120.4 / 200.8)
    assert found["examples"] == 201
    assert 0 < found["accuracy_margin"] < found["margins"][0]
    assert [spending.sigma for _, spending in heard] == [SIGMA, SIGMA]


def test_the_margin_holds_95_times_in_100():
    rng = np.random.default_rng(0)
    names, clips = ("examples", "correct", "loss"), np.array([1.0, 1.0, 5.0])
    true, deviation = np.array([400.0, 250.0, 500.0]), SIGMA * np.sqrt(3) * clips
    inside = 0
    for _ in range(2000):
        noisy = true + deviation * rng.normal(size=3)
        told = Told(dict(zip(names, noisy, strict=True)), dict(zip(names, deviation, strict=True)))
        off = abs(figures_of(told, CLASSIFICATION)["accuracy"] - 250 / 400)
        inside += off <= margins(told, CLASSIFICATION)["accuracy"]
    assert 0.93 < inside / 2000 < 0.97


def test_figures_stay_within_what_so_many_examples_can_have():
    told = Told({"examples": 10.0, "correct": 12.5, "loss": -3.0}, {"examples": 1.0, "correct": 1.0, "loss": 1.0})
    assert figures_of(told, CLASSIFICATION) == {"accuracy": 1.0, "loss": 0.0}
    assert figures_of(Told({**told.sums, "examples": -2.0}, told.spread), CLASSIFICATION) == {}
    assert figures_of(together([], CLASSIFICATION), CLASSIFICATION) == {}


@pytest.mark.parametrize(
    "metrics", [{"examples": float("nan")}, {"examples": 1e12}, {"correct": float("inf")}, {"loss": None}]
)
def test_what_is_no_measurement_is_left_out(metrics):
    messages = asked(1)
    values = {"examples": 10.0, "correct": 5.0, "loss": 1.0, **metrics}
    reply = answer(messages[0][0], spending=SPENDING, **{k: v for k, v in values.items() if v is not None})
    found = measured([reply], messages, CLASSIFICATION, lambda *_: None)
    assert "accuracy" not in found
