"""Masks: literal streams, what they are bound to, and what a masked vector tells."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bract.directives.select import Select
from bract.errors import BractError
from bract.secure_sum.masks import Context, add_stream, own_key, pair_key
from bract.secure_sum.setup import public_of
from bract.secure_sum.vector import Shape, Words
from bract.wire.plan import Plan
from tests.bract.secure_sum.members import NUMBER, Members, words_of

A, B = bytes(range(32)), bytes(range(32, 64))
LAYOUT = b"a layout"
MANY = Shape(20_000, 32, 4, LAYOUT)


def words(found):
    return [f"{int(one):08x}" for one in found.values]


def uniform(values):
    """Whether bytes pass a chi-square test; it fails for one in 10^5 that are uniform."""
    counts = np.bincount(np.frombuffer(values.tobytes(), dtype=np.uint8), minlength=256)
    return stats.chisquare(counts).pvalue > 1e-5


def test_literal_streams():
    found = Words.zeros(Shape(4, 32, 0, LAYOUT))
    add_stream(found, A, 1)
    assert words(found) == ["b60090f2", "d09f492a", "6a9af3a9", "80772edd"]
    context = Context(7, bytes(32), bytes(32))
    key = pair_key(A, public_of(B), context, 0, 1)
    assert key.hex() == "e326a94622b60594f01fd57139e3b9d0aabbbe35a7d81b36147d6733e20f7eac"
    assert key == pair_key(B, public_of(A), context, 1, 0)
    found = Words.zeros(Shape(2, 32, 0, LAYOUT))
    add_stream(found, key, 1)
    assert words(found) == ["d5fe2b16", "c796b2ca"]


@pytest.mark.parametrize("bits", [32, 64])
def test_figures_go_on_where_values_end_and_what_is_added_can_be_taken_away(bits):
    shape = Shape(5, bits, 3, LAYOUT)
    long = Words.zeros(Shape(5 + 3 * 64 // bits, bits, 0, LAYOUT))
    found = Words.zeros(shape)
    for one in (long, found):
        add_stream(one, A, 1)
    assert found.values.tobytes() + found.figures.tobytes() == long.values.tobytes()
    add_stream(found, A, -1)
    assert not found.values.any()
    assert not found.figures.any()


def test_a_context_is_of_all_that_members_must_agree_on_and_of_nothing_else():
    plan = Plan(3, "f", trains=("B",), sends=("B",), receives=("B",))
    shape, union = Shape(9, 32, 2, LAYOUT), np.array([0, 2])
    right = (NUMBER, A, plan, b"model", (0, 1, 2), shape, union)

    def digest(*what, measured=False):
        return Context.of(*what, measured=measured).digest

    assert digest(*right) == digest(NUMBER, A, replace(plan, joined=2, rank=1.5), *right[3:])  # these differ by member
    changed = [
        (*right[:2], replace(plan, do=(Select(2, "released"),)), *right[3:]),
        (*right[:2], replace(plan, slots=(0, 2)), *right[3:]),
        (NUMBER + 1, *right[1:]),
        (*right[:2], replace(plan, round=4), *right[3:]),
        (*right[:2], replace(plan, trains=()), *right[3:]),
        (*right[:2], replace(plan, federation="g"), *right[3:]),
        (*right[:3], b"another", *right[4:]),
        (*right[:4], (0, 1), *right[5:]),
        (*right[:5], replace(shape, bits=64), union),
        (*right[:5], replace(shape, values=10), union),
        (*right[:5], replace(shape, figures=3), union),
        (*right[:5], replace(shape, layout=b"another!"), union),
        (*right[:6], np.array([0, 3])),
        (*right[:6], None),
    ]
    digests = [digest(*right), digest(*right, measured=True), *(digest(*one) for one in changed)]
    assert len(set(digests)) == len(digests)


def test_keys_of_masks_differ_by_member_round_print_and_context():
    contexts = [Context(7, A, B), Context(8, A, B), Context(7, B, B), Context(7, A, A)]
    own = [own_key(A, context, member) for context in contexts for member in (0, 1)]
    pair = [pair_key(A, public_of(B), context, 0, other) for context in contexts for other in (1, 2)]
    assert len({*own, *pair}) == len(own) + len(pair)
    with pytest.raises(BractError, match="none"):
        pair_key(A, bytes(32), contexts[0], 0, 1)  # a point of small order gives everybody the same secret


def test_a_masked_vector_of_zeros_looks_like_chance():
    members = Members(3)
    sent = [members.masked(i, Words.zeros(MANY), members.all) for i in members.all]
    for one in sent:
        assert uniform(one.values)
        assert uniform(one.figures) or len(one.figures) < 100
    assert uniform(sent[0].values + sent[1].values)  # a sum of fewer than all
    assert not uniform(Words.zeros(MANY).values)
    whole = sent[0].values + sent[1].values + sent[2].values
    own = Words.zeros(MANY)
    for i in members.all:
        add_stream(own, own_key(members.secrets[i].own(NUMBER), members.context(MANY, members.all), i), 1)
    assert (whole == own.values).all()  # pair masks cancel: own masks are what is left


def test_two_rounds_of_one_member_share_no_word():
    """Nor two members, nor two askings for the same words: only as many words are alike as chance has it."""
    members, zeros = Members(4, survivors=3), Words.zeros(MANY)
    sent = [
        members.masked(0, zeros, [0, 1, 2, 3]),
        members.masked(0, zeros, [0, 1, 2]),
        members.masked(1, zeros, [0, 1, 2, 3]),
    ]
    pool = np.concatenate([one.values for one in sent])
    pairs = len(pool) ** 2 / 2
    alike = len(pool) - len(np.unique(pool))
    assert alike < 8 * max(1.0, pairs / 2**32)  # 0.4 pairs are expected
    assert (sent[0].values != sent[1].values).mean() > 0.999


def test_a_late_vector_stays_hidden_from_who_has_all_that_unmasking_gave():
    """The server that took a late member's masks off the others' sum knows its mask key, but not its own mask."""
    members = Members(4, survivors=3)
    late, (z, *_) = 3, words_of(np.random.default_rng(0), 4, MANY)
    y = members.masked(late, z, members.all)
    context = members.context(MANY, members.all)
    for other in (0, 1, 2):  # the masks that it shares with each, by its recovered key
        key = pair_key(members.secrets[late].mask(NUMBER), members.keys[other].masks[0], context, late, other)
        add_stream(y, key, 1)
    for other in (0, 1, 2):  # what else is known: all others' own masks, which are none of its
        known = Words(MANY, y.values.copy(), y.figures.copy())
        add_stream(known, own_key(members.secrets[other].own(NUMBER), context, other), -1)
        assert uniform(known.values - z.values)
    assert uniform(y.values - z.values)
    assert (y.values == z.values).mean() < 0.001
    add_stream(y, own_key(members.secrets[late].own(NUMBER), context, late), -1)
    assert (y.values == z.values).all()  # that one mask was all that hid it
