from itertools import combinations

import numpy as np
import pytest

from bract.batching import by_length


def cost(lengths, groups, call):
    return sum(len(group) * max(lengths[i] for i in group) + call for group in groups)


@pytest.mark.parametrize("call", [0, 5, 40, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_no_other_cut_of_the_sorted_lengths_costs_less(call, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, 9).tolist()
    most = 60
    found = by_length(lengths, max_tokens=most, pass_cost=call)
    assert sorted(np.concatenate(found)) == list(range(9))
    order = np.argsort(lengths, kind="stable")
    best = float("inf")
    for count in range(9):
        for cuts in combinations(range(1, 9), count):
            groups = np.split(order, cuts)
            if all(len(g) == 1 or len(g) * max(lengths[i] for i in g) <= most for g in groups):
                best = min(best, cost(lengths, groups, call))
    assert cost(lengths, found, call) == best
    assert all(len(g) == 1 or len(g) * max(lengths[i] for i in g) <= most for g in found)


def test_what_is_longer_than_the_bound_is_alone():
    assert [g.tolist() for g in by_length([3, 100, 3], max_tokens=10, pass_cost=50)] == [[0, 2], [1]]


def test_no_group_has_more_rows_than_it_may():
    assert [g.tolist() for g in by_length([3] * 5, max_tokens=100, pass_cost=50, max_rows=2)] == [[0], [1, 2], [3, 4]]


def test_nothing_makes_no_groups():
    assert by_length([], max_tokens=10, pass_cost=1) == []
    assert [g.tolist() for g in by_length([0, 0], max_tokens=10, pass_cost=1)] == [[0, 1]]
