"""Masks come off exactly, whoever is lost, or nothing comes."""

from itertools import combinations

import numpy as np
import pytest

from bract.errors import BractError
from bract.secure_sum import shamir
from bract.secure_sum.vector import Shape, Words
from server_app.secure_sum.recovering import Answer, unmask
from tests.bract.secure_sum.members import Members, plain, total, words_of

LAYOUT = b"a layout"


class Round:
    """One round's words, sent by all that were asked."""

    def __init__(self, n: int, bits: int, asked: list[int] | None = None, **more: int) -> None:
        self.members, self.shape = Members(n, **more), Shape(17, bits, 2, LAYOUT)
        self.asked = self.members.all if asked is None else asked
        self.words = words_of(np.random.default_rng([n, bits]), n, self.shape)
        self.sent = {i: self.members.masked(i, self.words[i], self.asked) for i in self.asked}

    def released(self, survivors, by, changed=None, order=None):
        """The sum over these survivors that answers of these members give."""
        found = total([self.sent[i] for i in order or survivors], self.shape)
        answers = self.members.answers(self.asked, survivors, by) | (changed or {})
        members = self.members
        context = members.context(self.shape, self.asked)
        unmask(found, context, members.parameters, members.keys, self.asked, survivors, answers)
        values, figures = found.numbers()
        return values.tolist(), figures

    def losses(self, late_help: bool = False):
        """Every set of survivors, and of those of them who still answer."""
        parameters = self.members.parameters
        for lost in range(len(self.asked) - parameters.survivors + 1):
            for gone in combinations(self.asked, lost):
                survivors = [i for i in self.asked if i not in gone]
                for later in range(parameters.survivors - parameters.threshold + 1):
                    for away in combinations(survivors, later):
                        by = self.asked if late_help else survivors
                        yield survivors, [i for i in by if i not in away]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("n", "more"),
    [(3, {}), (4, {"survivors": 3}), (5, {}), (6, {"survivors": 5}), (10, {})],
)
def test_every_combination_of_losses_gives_the_plain_sum_bit_by_bit(n, more, bits):
    round_, seen = Round(n, bits, **more), 0
    sums: dict[tuple[int, ...], object] = {}
    for late_help in (False, True):
        for survivors, by in round_.losses(late_help):
            if n == 10 and late_help == (bits == 32):  # half of them for each size
                continue
            expected = sums.setdefault(tuple(survivors), plain(round_.words, survivors))
            assert round_.released(survivors, by) == expected
            seen += 1
    assert seen >= {3: 2, 4: 10, 5: 12, 6: 60, 10: 500 // 2}[n]


def test_fifty_members():
    round_ = Round(50, 32)
    rng = np.random.default_rng(0)
    for before, after in ((0, 0), (10, 0), (0, 19), (10, 9)):
        survivors = sorted(rng.permutation(50)[before:].tolist())
        by = sorted(rng.permutation(survivors)[after:].tolist())
        assert round_.released(survivors, by) == plain(round_.words, survivors)
        with pytest.raises(BractError, match="31 right ones are needed"):
            round_.released(survivors, by[:30])


def test_fewer_may_be_asked_than_there_are_members():
    round_ = Round(10, 64, asked=[0, 2, 3, 4, 5, 6, 8, 9])
    survivors = [0, 2, 3, 5, 6, 8, 9]
    assert round_.released(survivors, survivors) == plain(round_.words, survivors)


def test_the_order_of_arrival_does_not_matter():
    round_ = Round(5, 32)
    survivors = [0, 1, 3, 4]
    found = [round_.released(survivors, survivors, order=order) for order in ([4, 0, 3, 1], [1, 4, 0, 3], survivors)]
    assert found == [plain(round_.words, survivors)] * 3


def test_too_few_shares_give_an_error_and_no_sum():
    round_ = Round(6, 32, survivors=5)
    assert round_.members.parameters.threshold == 4
    for survivors in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 5]):
        for by in combinations(survivors, 3):
            with pytest.raises(BractError, match="3 shares came, 4 right ones are needed"):
                round_.released(survivors, by)


def spoiled(answer: Answer, of: list[int]) -> Answer:
    """With a wrong share of each of these."""
    wrong = {i: ((int.from_bytes(answer.shares[i], "little") + 1) % shamir.PRIME).to_bytes(33, "little") for i in of}
    return Answer({**answer.shares, **wrong})


@pytest.mark.parametrize("n", [6, 20])
def test_a_wrong_share_is_left_out_whoever_sends_it_while_enough_right_ones_are_there(n):
    round_ = Round(n, 32)
    parameters = round_.members.parameters
    survivors = round_.asked[: parameters.survivors]
    right = round_.members.answers(round_.asked, survivors, survivors)
    expected = plain(round_.words, survivors)
    for liar in survivors:
        for of in ([survivors[0]], [round_.asked[-1]], round_.asked):
            assert round_.released(survivors, survivors, {liar: spoiled(right[liar], of)}) == expected
        garbage = Answer(dict.fromkeys(round_.asked, b"\xff" * 33))
        assert round_.released(survivors, survivors, {liar: garbage}) == expected
    few = survivors[: parameters.threshold]
    with pytest.raises(BractError, match="right ones are needed"):
        round_.released(survivors, few, {few[1]: spoiled(right[few[1]], [0])})


def test_several_wrong_ones_are_left_out_too():
    round_ = Round(20, 32)
    survivors = round_.asked
    right = round_.members.answers(round_.asked, survivors, survivors)
    liars = {i: spoiled(right[i], round_.asked) for i in (0, 7, 13)}
    assert round_.released(survivors, survivors, liars) == plain(round_.words, survivors)


def test_shares_of_both_kinds_in_the_wrong_place_are_detected():
    """Shares that belong to another set of survivors never give a sum of something else."""
    round_ = Round(5, 32)
    for other in ([0, 1, 2, 3], [1, 2, 3, 4]):
        answers = round_.members.answers(round_.asked, other, round_.asked)
        with pytest.raises(BractError, match="right ones are needed"):
            round_.released([0, 1, 2, 4], [], answers)


def test_an_answer_of_another_length_is_refused():
    asked = [0, 2, 3]
    assert Answer.of(asked, bytes(99)).shares == dict.fromkeys(asked, bytes(33))
    for shares in (b"", bytes(98), bytes(100), bytes(66), None, [bytes(33)] * 3, "x" * 99):
        with pytest.raises(BractError, match="shares"):
            Answer.of(asked, shares)


def test_a_vector_that_is_not_in_the_sum_is_not_uncovered_by_its_answers():
    """What unmasking of one set of survivors gives leaves every other set's sum masked."""
    round_ = Round(5, 32)
    members, survivors = round_.members, [0, 1, 2, 3]
    answers = members.answers(round_.asked, survivors, round_.asked)
    context = members.context(round_.shape, round_.asked)
    for other in ([0, 1, 2, 3, 4], [1, 2, 3, 4], [4]):
        found = total([round_.sent[i] for i in other], round_.shape)
        unmask(found, context, members.parameters, members.keys, round_.asked, survivors, answers)
        values, _ = found.numbers()
        assert values.tolist() != plain(round_.words, other)[0]
        assert isinstance(found, Words)
