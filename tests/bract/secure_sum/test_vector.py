"""The array of words: read back bit by bit, and refused where it is not the round's."""

import numpy as np
import pytest

from bract.errors import BractError
from bract.secure_sum.vector import HEADER, Shape, Words, packed, unpacked
from tests.bract.secure_sum.members import plain, total, words_of

LAYOUT = b"a layout"


@pytest.mark.parametrize("bits", [32, 64])
def test_words_are_read_back_and_add_up_to_the_plain_sum_in_any_order(bits):
    rng, shape = np.random.default_rng(bits), Shape(33, bits, 3, LAYOUT)
    words = words_of(rng, 7, shape)
    edge = 2 ** (bits - 1) // 7
    words[0] = Words.of(shape, np.full(33, edge - 1), [2**63 // 7 - 1] * 3)
    words[1] = Words.of(shape, np.full(33, -edge), [-(2**63 // 7)] * 3)
    sent = [unpacked(packed(one, 9), shape, 9) for one in words]
    values, figures = total(sent, shape).numbers()
    assert (values.tolist(), figures) == plain(words, range(7))
    for order in (rng.permutation(7) for _ in range(5)):
        again = total([sent[i] for i in order], shape)
        assert again.values.tobytes() == total(sent, shape).values.tobytes()
    same = total([words[0]] * 7, shape).numbers()
    assert (same[0] == 7 * (edge - 1)).all()  # at the edge, and nothing wraps


@pytest.mark.parametrize("bits", [32, 64])
def test_other_arrays_are_refused(bits):
    shape = Shape(6, bits, 2, LAYOUT)
    words = Words.of(shape, np.arange(6), [1, -1])
    data = packed(words, 9)
    assert unpacked(data, shape, 9).numbers()[1] == [1, -1]
    other = Shape(6 * bits // (96 - bits), 96 - bits, 2, LAYOUT)  # as many bytes in words of the other size
    wrong = [
        data[:-1],
        np.append(data, np.uint8(0)),
        data[: HEADER.size],
        data[:0],
        data.astype(np.int8),
        data.reshape(1, -1),
        packed(words, 8),
        packed(words, 10),
        packed(Words.zeros(other), 9),
        packed(Words.zeros(Shape(6, bits, 2, b"another!")), 9),
        packed(Words.zeros(Shape(6, bits, 1, LAYOUT)), 9),
        packed(Words.zeros(Shape(5, bits, 2, LAYOUT)), 9),
    ]
    for at in range(HEADER.size):  # not one byte of the header may be another
        changed = data.copy()
        changed[at] ^= 1
        wrong.append(changed)
    for one in wrong:
        with pytest.raises(BractError, match="words"):
            unpacked(one, shape, 9)


def test_what_is_not_of_the_shape_is_no_words():
    with pytest.raises(ValueError, match="shape"):
        Words.of(Shape(2, 32, 0, LAYOUT), np.arange(3), [])
    with pytest.raises(ValueError, match="shape"):
        Words.of(Shape(2, 32, 1, LAYOUT), np.arange(2), [])
