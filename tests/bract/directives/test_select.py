"""LoRA-A2's scores and selection, by hand."""

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module
from bract.directives.select import best, scores, standing

# Slots 0 and 1 are m's ranks (A rows of two, B of one), 2 and 3 are n's (A of one, B of two).
LAYOUT = Layout((Module("m", 2, 1), Module("n", 1, 2)), rank=2)
A = np.array([3, 4, 0, 1, 2, 1], np.float32)  # lengths 5, 1, 2, 1
B = np.array([1, 2, 3, 4, 0, -2], np.float32)  # lengths 1, 2, 5, 2
GRADIENT = np.array([-4, 1, 0, 1, 9, 1], np.float32)


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        ("product", [5, 2, 10, 2]),  # 1*5, 2*1, 5*2, 2*1
        ("magnitude", [1, 2, 5, 2]),
        ("sensitivity", [4, 2, 4, 2]),  # 4*1, 1*2, 0*3 + 1*4, 9*0 + 1*2
    ],
)
def test_scores_of_a_change_of_b(score, wanted):
    assert scores(LAYOUT, "B", B, A, GRADIENT, score).tolist() == pytest.approx(wanted)


def test_scores_of_a_change_of_a():
    assert scores(LAYOUT, "A", A, B, GRADIENT, "product").tolist() == pytest.approx([5, 2, 10, 2])
    # A rank whose B is zero does nothing whatever its A does.
    still = np.array([0, 2, 3, 4, 0, 2], np.float32)
    assert scores(LAYOUT, "A", A, still, GRADIENT, "product").tolist() == pytest.approx([0, 2, 10, 2])
    assert scores(LAYOUT, "A", A, B, GRADIENT, "magnitude").tolist() == pytest.approx([5, 1, 2, 1])


def test_the_norm_is_that_of_the_product():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6).astype(np.float32), rng.normal(size=6).astype(np.float32)
    found = scores(LAYOUT, "B", b, a, b, "product")
    pairs = zip(LAYOUT.matrices("B", b), LAYOUT.matrices("A", a), strict=True)
    wanted = [np.linalg.norm(np.outer(bm[i], am[i])) for bm, am in pairs for i in range(2)]
    assert np.allclose(found, wanted)


def test_the_best_are_of_the_whole_model_and_ties_go_to_the_first():
    values = np.array([5.0, 2.0, 10.0, 2.0])
    assert [best(values, n).tolist() for n in (1, 2, 3, 4)] == [[2], [0, 2], [0, 1, 2], [0, 1, 2, 3]]


def test_what_was_released_is_scored_without_a_probe():
    found = standing(LAYOUT, {"A": A, "B": B})
    assert found.tolist() == pytest.approx([5, 2, 10, 2])
    assert best(found, 1).tolist() == [2]
    assert best(found, 1, np.array([1, 3])).tolist() == [1]
