"""Large sums: with whom each member shares, and that masks among neighbours come off all the same."""

import math

import numpy as np
import pytest

from bract.errors import BractError
from bract.secure_sum.masks import Context, mask
from bract.secure_sum.neighbours import ALL, STUCK, UNSAFE, degree, neighbours
from bract.secure_sum.setup import Parameters, Secrets, box_of
from bract.secure_sum.vector import Shape, Words
from server_app.secure_sum.recovering import Answer, unmask

N = 210


def test_everybody_shares_with_everybody_up_to_some_number():
    assert degree(10, 2, 8) == (9, 7)
    assert degree(ALL, 40, 160) == (ALL - 1, 121)
    assert neighbours(4, 3, b"") == ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))


@pytest.mark.parametrize(("n", "c", "f"), [(201, 40, 161), (1000, 200, 800), (1000, 50, 900), (4000, 200, 3600)])
def test_neighbours_are_enough_and_not_too_many(n, c, f):
    """The two chances, summed by another way: by exact ratios of binomial coefficients."""
    count, need = degree(n, c, f)

    def chance(marked, hit):
        return math.comb(marked, hit) * math.comb(n - 1 - marked, count - hit) / math.comb(n - 1, count)

    both = sum(chance(c, hit) for hit in range(min(c, count) + 1) if 2 * need <= count + 1 + hit)
    stuck = sum(chance(f - 1, alive) for alive in range(need))
    assert n * both <= UNSAFE * (1 + 1e-6)
    assert n * stuck <= STUCK * (1 + 1e-6)
    assert count < n - 1


def test_neighbours_are_mutual_and_follow_from_the_set_ups_digest():
    one, two = neighbours(N, 20, b"one"), neighbours(N, 20, b"two")
    assert one != two
    for member, near in enumerate(one):
        assert len(set(near)) == 20
        assert member not in near
        assert all(member in one[other] for other in near)


def test_masks_among_neighbours_come_off():
    parameters = Parameters.of("f", 1, range(N), 1, 1)
    secrets = [Secrets(i.to_bytes(32, "little")) for i in range(N)]
    keys, print_ = [one.keys(parameters) for one in secrets], bytes(32)
    near, publics = parameters.neighbours(print_), {i: one.masks[0] for i, one in enumerate(keys)}
    assert len(near[0]) < N - 1
    shape, context = Shape(5, 32, 2, bytes(8)), Context(1, print_, bytes(32))
    rng, lost, silent = np.random.default_rng(0), set(range(3)), {5, 6}
    alive = [i for i in range(N) if i not in lost]
    total, plain = Words.zeros(shape), Words.zeros(shape)
    for i in alive:
        words = Words.of(shape, rng.integers(-1000, 1000, 5), [1, -i])
        plain.add(words)
        mask(words, context, i, secrets[i].mask(1), secrets[i].own(1), near[i], publics)
        total.add(words)
    needed = sorted({member for i in lost for member in near[i]} | set(alive))
    dealt = {}
    for i in range(N):
        receivers = (*near[i], i)
        both = (secrets[i].shares(what, 1, parameters, receivers) for what in ("mask", "self"))
        dealt[i] = dict(zip(receivers, zip(*both, strict=True), strict=True))
    answers = {by: Answer({i: dealt[i][by][i in alive] for i in (*near[by], by)}) for by in needed if by not in silent}
    unmask(total, context, parameters, keys, range(N), alive, answers)
    assert (total.values == plain.values).all()
    assert (total.figures == plain.figures).all()
    few = {by: answers[by] for by in list(answers)[: parameters.threshold - 1]}
    with pytest.raises(BractError, match="right ones are needed"):
        unmask(total, context, parameters, keys, range(N), alive, few)


def test_boxes_are_for_neighbours_alone():
    parameters = Parameters.of("f", 1, range(N), 1, 1)
    secrets = [Secrets(i.to_bytes(32, "little")) for i in range(N)]
    keys, print_ = [one.keys(parameters) for one in secrets], bytes(32)
    receivers = parameters.neighbours(print_)[0]
    boxes = secrets[0].boxes(parameters, 0, keys, print_)
    last = receivers[-1]
    box = box_of(boxes, parameters, receivers, last, 1)
    opened = secrets[last].opened(box, 0, last, 1, keys[0].box, print_)
    assert opened == tuple(secrets[0].shares(what, 1, parameters, [last])[0] for what in ("mask", "self"))
    assert len(boxes) == len(receivers) * len(box)
