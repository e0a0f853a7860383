"""Who carries how many ranks."""

from collections import Counter

import pytest

from bract.errors import BractError
from bract.settings.checks import POPULATIONS
from bract.settings.read import read
from strategies import Member
from strategies.ranks import assign, budget, population


def ranks(values, clients=4, modules=12, own=None):
    settings = read({"lora.rank": 8, **values})
    members = [Member(i, 10 + i, (own or {}).get(i)) for i in range(clients)]
    return [member.rank for member in assign(members, settings, modules, clients)]


@pytest.mark.parametrize(
    ("name", "counts", "total"),
    [
        ("uniform", {2: 6, 4: 6, 8: 6, 16: 6, 32: 6}, 372),
        ("heavy-tail", {2: 16, 4: 8, 8: 4, 16: 2}, 128),
        ("normal", {1: 3, 2: 7, 4: 10, 8: 7, 16: 3}, 161),
    ],
)
def test_thirty_clients_are_the_papers_populations(name, counts, total):
    found = population(name, 30, seed=0)
    assert Counter(found) == counts
    assert sum(found) == total
    assert found != population(name, 30, seed=1)
    assert found != sorted(found)


def test_other_numbers_of_clients_keep_the_proportions():
    assert Counter(population("uniform", 10, 0)) == {2: 2, 4: 2, 8: 2, 16: 2, 32: 2}
    assert set(population("normal", 3, 0)) <= set(POPULATIONS["normal"])
    assert Counter(population("heavy-tail", 300, 0)) == {2: 160, 4: 80, 8: 40, 16: 20}


def test_the_defaults():
    assert ranks({"strategy.name": "hetlora"}) == [8] * 4
    assert ranks({"strategy.name": "flexlora"}) == [8] * 4
    assert ranks({"strategy.name": "lora-a2"}) == [2] * 4
    assert ranks({"strategy.name": "lora-a2", "lora.rank": 1}, modules=2) == [0.5] * 4  # one slot at least
    assert ranks({"strategy.name": "lora-a2", "federation.ranks": "0.5"}) == [0.5] * 4
    assert ranks({"strategy.name": "hetlora", "federation.ranks": "4"}) == [4] * 4


def test_the_node_s_own_rank_wins():
    assert ranks({"strategy.name": "hetlora", "federation.ranks": "4"}, own={1: 2.0}) == [4, 2, 4, 4]
    assert ranks({"strategy.name": "lora-a2"}, own={3: 0.25}) == [2, 2, 2, 0.25]


@pytest.mark.parametrize(
    ("values", "own", "words"),
    [
        ({"strategy.name": "hetlora"}, {2: 16.0}, "client 2: rank 16 in its node's .*, the adapter has lora.rank = 8"),
        ({"strategy.name": "flexlora"}, {0: 2.5}, "client 0: rank 2.5 in its node's configuration should be a whole"),
        ({"strategy.name": "lora-a2"}, {1: 0.05}, "client 1: rank 0.05 .* of 12 modules is a budget of less than one"),
        ({"strategy.name": "lora-a2", "federation.ranks": "0.01"}, {}, "client 0: rank 0.01 in each of 12 modules"),
        ({"strategy.name": "fedit"}, {3: 4.0}, "client 3 carries rank 4 by its node's .*, fedit needs lora.rank = 8"),
    ],
)
def test_a_rank_that_cannot_be_is_refused_by_name(values, own, words):
    with pytest.raises(BractError, match=words):
        ranks(values, own=own)


def test_a_method_of_equal_clients_takes_those_that_carry_enough():
    assert ranks({"strategy.name": "fedit"}, own={0: 8.0, 1: 32.0}) == [float("inf")] * 4


def test_a_budget_is_not_lost_to_rounding():
    assert [budget(1 / n, n) for n in range(1, 200)] == [1] * 199
    assert budget(2.5, 4) == 10
    assert ranks({"strategy.name": "lora-a2"}, modules=49, own={0: 1 / 49})[0] == 1 / 49
