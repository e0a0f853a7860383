"""Clients compared: what is said of folded updates is what whole ones would say."""

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module
from bract.wire.payload import Payload
from strategies.diagnostics import MOST, Diagnostics

LAYOUT = Layout((Module("q", 400, 300), Module("v", 200, 500)), rank=4)


def parts(rng, scale=1.0):
    return {p: (scale * rng.normal(size=LAYOUT.size(p))).astype(np.float32) for p in ("A", "B")}


def cosine(x, y):
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize("changes", [False, True])
def test_similarity_and_distance_are_those_of_whole_updates(changes):
    rng = np.random.default_rng(0)
    before, common = parts(rng), parts(rng, 0.5)
    moves = [{p: common[p] + v for p, v in parts(rng, 0.5).items()} for _ in range(4)]
    diagnostics = Diagnostics(LAYOUT, before, seed=1)
    for i, move in enumerate(moves):
        diagnostics.add(i, Payload(1, move if changes else {p: before[p] + move[p] for p in move}), changes=changes)
    row = diagnostics.row(1)
    for p in ("A", "B"):
        wanted = np.array([[cosine(x[p], y[p]) for y in moves] for x in moves])
        assert np.abs(np.array(row[f"update_similarity_{p}"]) - wanted).max() < 0.1  # three of its standard errors
        lengths = np.mean([np.linalg.norm(before[p] + m[p]) for m in moves])
        apart = np.array([[np.linalg.norm(x[p] - y[p]) for y in moves] for x in moves]) / lengths
        assert np.abs(np.array(row[f"distance_{p}"]) - apart).max() < 0.1
        assert apart.max() > 0.5
    assert "slots" not in row  # all sent all
    assert row["ranks"] == [4.0] * 4


@pytest.mark.parametrize("width", [384, 768, 1024])
def test_a_few_large_features_do_not_spoil_the_comparison(width):
    """As in transformers: some input features are many times larger, in every slot alike."""
    layout = Layout(tuple(Module(f"m{i}", width, 8) for i in range(24)), 8)
    rng = np.random.default_rng(0)
    scale = np.ones(width)
    scale[[3, 70, 200]] = 30.0
    errors = []
    for trial in range(20):
        moves = [(rng.normal(size=(layout.slots, width)) * scale).reshape(-1).astype(np.float32) for _ in range(2)]
        diagnostics = Diagnostics(layout, {"A": np.zeros(layout.size("A"), np.float32), "B": np.zeros(1)}, seed=trial)
        for i, move in enumerate(moves):
            diagnostics.add(i, Payload(1, {"A": move}), changes=True)
        errors.append(diagnostics.row(1)["update_similarity_A"][0][1] - cosine(*moves))
    assert np.std(errors) < 0.05


def test_what_was_not_sent_is_no_change():
    rng = np.random.default_rng(0)
    before = parts(rng)
    slots = LAYOUT.first(2)
    diagnostics = Diagnostics(LAYOUT, before, seed=1)
    diagnostics.add(0, Payload(1, {p: LAYOUT.cut(p, before[p], slots) for p in before}, slots), changes=False)
    diagnostics.add(1, Payload(1, before), changes=False)
    row = diagnostics.row(1)
    assert row["distance_A"] == row["distance_B"] == [[0, 0], [0, 0]]
    assert row["ranks"] == [2.0, 4.0]
    assert row["slot_overlap"] == [[1.0, 0.5], [0.5, 1.0]]


def test_a_picture_is_the_same_in_any_order_and_of_bounded_size():
    rng = np.random.default_rng(0)
    layout = Layout((Module("q", 8, 8),), 1)
    moves = {i: {"B": rng.normal(size=8).astype(np.float32)} for i in range(MOST + 10)}
    before = {"A": np.ones(8, np.float32), "B": np.zeros(8, np.float32)}
    rows = []
    for order in (list(moves), list(moves)[::-1]):
        diagnostics = Diagnostics(layout, before, seed=1)
        for i in order:
            diagnostics.add(i, Payload(1, moves[i]), changes=False)
        rows.append(diagnostics.row(1))
    assert rows[0] == rows[1]
    assert rows[0]["clients"] == list(range(MOST))
    assert "distance_A" not in rows[0]
