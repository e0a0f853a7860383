"""The members of a sum, and what they would send: keys, boxes, words and shares, without messages or disks."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from bract.secure_sum.masks import Context, mask
from bract.secure_sum.setup import Keys, Parameters, Secrets, box_of, print_of
from bract.secure_sum.vector import Shape, Words
from server_app.secure_sum.recovering import Answer

NUMBER = 5


class Members:
    """So many, who have agreed on a set-up that serves one round."""

    def __init__(self, n: int, **more: int) -> None:
        self.parameters = Parameters.of("f", 1, range(n), NUMBER, 1, **more)
        self.secrets = [Secrets(hashlib.sha256(b"seed %d" % i).digest()) for i in range(n)]
        self.keys: list[Keys] = [one.keys(self.parameters) for one in self.secrets]
        self.print = print_of(self.parameters, [one.to_bytes() for one in self.keys])

    @property
    def all(self) -> list[int]:
        """Their places."""
        return list(range(len(self.secrets)))

    @cached_property
    def shares(self) -> list[dict[int, tuple[bytes, bytes]]]:
        """By receiver and sender: of the mask key and of the own secret, from the sealed boxes."""
        boxes = [one.boxes(self.parameters, i, self.keys, self.print) for i, one in enumerate(self.secrets)]
        found: list[dict[int, tuple[bytes, bytes]]] = []
        for mine, one in enumerate(self.secrets):
            dealt = [one.shares(what, NUMBER, self.parameters, [mine])[0] for what in ("mask", "self")]
            opened = {mine: (dealt[0], dealt[1])}
            for sender in self.all:
                if sender != mine:
                    near = [other for other in range(len(self.secrets)) if other != sender]
                    box = box_of(boxes[sender], self.parameters, near, mine, NUMBER)
                    opened[sender] = one.opened(box, sender, mine, NUMBER, self.keys[sender].box, self.print)
            found.append(opened)
        return found

    def context(self, shape: Shape, asked: Iterable[int]) -> Context:
        """Of a round in which these are asked."""
        digest = hashlib.sha256(shape.to_bytes() + bytes(sorted(asked))).digest()
        return Context(NUMBER, self.print, digest)

    def masked(self, member: int, words: Words, asked: Iterable[int]) -> Words:
        """What a member sends for these words, which stay as they are."""
        sent = Words(words.shape, words.values.copy(), words.figures.copy())
        context, secrets = self.context(words.shape, asked), self.secrets[member]
        publics = {other: keys.masks[0] for other, keys in enumerate(self.keys)}
        mask(sent, context, member, secrets.mask(NUMBER), secrets.own(NUMBER), asked, publics)
        return sent

    def answers(self, asked: Iterable[int], survivors: Iterable[int], by: Iterable[int]) -> dict[int, Answer]:
        """What these members send to have the masks taken off."""
        asked, alive = list(asked), set(survivors)
        return {member: Answer({other: self.shares[member][other][other in alive] for other in asked}) for member in by}


def words_of(rng: np.random.Generator, n: int, shape: Shape) -> list[Words]:
    """For so many members, as large as can be added without a wrap."""
    most, figure = 2 ** (shape.bits - 1) // n - 1, 2**63 // n - 1
    return [
        Words.of(shape, rng.integers(-most, most, shape.values), rng.integers(-figure, figure, shape.figures).tolist())
        for _ in range(n)
    ]


def total(words: Iterable[Words], shape: Shape) -> Words:
    """Added up, one after the other."""
    found = Words.zeros(shape)
    for one in words:
        found.add(one)
    return found


def plain(words: Mapping[int, Words] | list[Words], survivors: Iterable[int]) -> tuple[list[int], list[int]]:
    """The sum in Python's integers, which know no word size."""
    chosen = [words[i].numbers() for i in survivors]
    return (
        [sum(column) for column in zip(*(values.tolist() for values, _ in chosen), strict=True)],
        [sum(column) for column in zip(*(figures for _, figures in chosen), strict=True)],
    )
