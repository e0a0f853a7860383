from dataclasses import replace

import numpy as np
import pytest

from bract.adapter.initial import draw
from bract.models.lora_model import Shape, build
from bract.settings.schema import TrainSettings
from tests.harness import TEXTS, examples_of, fit

SETTINGS = TrainSettings(batch=4, lr=0.01, steps=0, lr_ratio=1.0)


@pytest.fixture
def net(model_folder):
    model = build(Shape(str(model_folder), "native", 4, 2, 4.0, "attention", "random", 0, 32))
    for part, vector in draw(model.layout, 0, pooled=False).items():
        model.set(part, vector, model.layout)
    return model


@pytest.fixture
def shard(model_folder):
    texts = [t for ts in TEXTS.values() for t in ts]
    labels = [n for n, ts in TEXTS.items() for _ in ts]
    return examples_of(texts, labels, model_folder, 16)


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("parts", [("B",), ("A", "B"), ("A",), ("B", "head"), ("head",)])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_the_named_parts_change(net, shard, parts, optimizer):
    net.set("B", np.full(net.layout.size("B"), 0.1, np.float32), net.layout)  # with B = 0, A has no gradient
    before = values(net)
    fit(net, shard, replace(SETTINGS, optimizer=optimizer), parts)
    changed = {name for name, p in values(net).items() if not (p == before[name]).all()}
    wanted = {id(p) for part in parts for p in net.parameters_of(part)}
    assert changed == {name for name, p in net.named_parameters() if id(p) in wanted}


def test_it_fits_what_it_is_given(net, shard):
    settings = replace(SETTINGS, epochs=40)
    trained = fit(net, shard, settings, ("A", "B", "head"))
    assert (trained.examples, trained.steps) == (16, 160)
    again = fit(net, shard, replace(SETTINGS, lr=0.0), ("B",))
    assert again.loss < 0.2 < 1.3


@pytest.mark.parametrize("part", ["A", "B"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_slots_that_are_not_named_do_not_move(net, shard, part, optimizer):
    net.set("B", np.full(net.layout.size("B"), 0.1, np.float32), net.layout)
    before = net.get(part)
    slots = np.array([1, 4, 7])
    fit(net, shard, replace(SETTINGS, optimizer=optimizer), (part,), slots=slots)
    moved = net.get(part) != before
    inside = net.layout.positions(part, slots)
    assert moved[inside].mean() > 0.9
    moved[inside] = False
    assert not moved.any()


def test_the_rate_of_b_is_multiplied(net, shard):
    start = {p: net.get(p) for p in ("B", "head")}
    moves = {}
    for ratio in (1.0, 5.0):
        for part, vector in start.items():
            net.set(part, vector, net.layout)
        settings = replace(SETTINGS, optimizer="sgd", lr_ratio=ratio, steps=1)
        fit(net, shard, settings, ("B", "head"))
        moves[ratio] = {p: net.get(p) - start[p] for p in start}
    assert np.allclose(moves[5.0]["B"], 5 * moves[1.0]["B"], atol=1e-6)
    assert np.allclose(moves[5.0]["head"], moves[1.0]["head"], atol=1e-6)
