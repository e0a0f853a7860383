"""The one array of a member's reply: a header, the words of its values, and those of its figures.

    magic  version  bits  figures  0  round  values      layout
    4      1        1     1        1  4      4           8

Values are words of 16, 32 or 64 bits, figures always of 64; both are added modulo their size.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bract.errors import BractError
from bract.secure_sum.grid import Bits, from_words, to_words

MAGIC = b"BRSM"
VERSION = 1
HEADER = struct.Struct("<4sBBBBII8s")


@dataclass(frozen=True)
class Shape:
    """How many words of which size."""

    values: int
    bits: Bits
    figures: int
    layout: bytes  # the fingerprint of the adapter's layout

    @property
    def size(self) -> int:
        """Bytes of the words."""
        return self.values * self.bits // 8 + 8 * self.figures

    def to_bytes(self) -> bytes:
        """For a digest."""
        return struct.pack("<IBB", self.values, self.bits, self.figures) + self.layout


@dataclass(frozen=True)
class Words:
    """The words of one member, or of a sum of some."""

    shape: Shape
    values: NDArray[Any]  # uint16, uint32 or uint64
    figures: NDArray[Any]  # uint64

    @staticmethod
    def of(shape: Shape, values: NDArray[np.int64], figures: Iterable[int]) -> "Words":
        """Of whole numbers, which may be negative."""
        numbers = to_words(np.array(list(figures), dtype=np.int64), 64)
        if len(values) != shape.values or len(numbers) != shape.figures:
            raise ValueError("not of this shape")
        return Words(shape, to_words(values, shape.bits), numbers)

    @staticmethod
    def zeros(shape: Shape) -> "Words":
        """Where a sum begins."""
        return Words.of(shape, np.zeros(shape.values, dtype=np.int64), [0] * shape.figures)

    def add(self, other: "Words") -> None:
        """Add another's, in place. The order of additions does not change a bit."""
        self.values.__iadd__(other.values)
        self.figures.__iadd__(other.figures)

    def numbers(self) -> tuple[NDArray[np.int64], list[int]]:
        """Values and figures as whole numbers, which may be negative."""
        return from_words(self.values), [int(one) for one in from_words(self.figures)]


def packed(words: Words, number: int) -> NDArray[np.uint8]:
    """The array of a message."""
    shape = words.shape
    head = HEADER.pack(MAGIC, VERSION, shape.bits, shape.figures, 0, number, shape.values, shape.layout)
    pieces = (words.values.astype(words.values.dtype.newbyteorder("<")), words.figures.astype("<u8"))
    return np.frombuffer(b"".join((head, *(piece.tobytes() for piece in pieces))), dtype=np.uint8)


def unpacked(data: NDArray[np.uint8], shape: Shape, number: int) -> Words:
    """Read an array that must have this shape and round: anything else is a BractError."""
    wanted = HEADER.pack(MAGIC, VERSION, shape.bits, shape.figures, 0, number, shape.values, shape.layout)
    if data.dtype != np.uint8 or data.ndim != 1 or len(data) != HEADER.size + shape.size:
        raise BractError(f"{len(data)} bytes of words, this round's are {HEADER.size + shape.size}")
    raw = data.tobytes()
    if raw[: HEADER.size] != wanted:
        raise BractError("the words are of another round, layout or size")
    split = HEADER.size + shape.values * shape.bits // 8
    values = np.frombuffer(raw[HEADER.size : split], dtype=f"<u{shape.bits // 8}")
    figures = np.frombuffer(raw[split:], dtype="<u8")
    return Words(shape, values.astype(values.dtype.newbyteorder("=")), figures.astype(np.uint64))
