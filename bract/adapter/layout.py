"""The adapter's layout: which slots there are, and where each lies in a flat vector.

An adapter is N adapted modules with r ranks each: N*r slots. A slot owns one row of A (d_in
values) and one column of B (d_out values). Both are kept rank-first, so that a slot is one
contiguous run in either factor:

    A = [module 0: rank 0, rank 1, ... | module 1: rank 0, ... ]      rows of d_in values
    B = [module 0: rank 0, rank 1, ... | module 1: rank 0, ... ]      rows of d_out values

Beside the factors there may be a head: plain tensors, one after the other.

VeRA's trainable vectors fit in as well: the frozen random matrices are no part of the adapter, "A"
is the module's lambda_d (r values) and "B" its lambda_b (d_out values). They cannot be cut into
ranks, so such a module has one slot: the layout's rank is 1 and the module's d_in is r.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bract.choices import Variant
from bract.errors import BractError

Part = Literal["A", "B", "head"]
PARTS: tuple[Part, ...] = ("A", "B", "head")
FACTORS: tuple[Part, ...] = ("A", "B")
VARIANTS: tuple[Variant, ...] = get_args(Variant)
Vector = NDArray[np.float32]
Parts = dict[Part, Vector]


@dataclass(frozen=True)
class Module:
    """One adapted linear layer of the base model."""

    name: str
    d_in: int
    d_out: int


@dataclass(frozen=True)
class Tensor:
    """One tensor of the head."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Values in the tensor."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Layout:
    """Where every value of an adapter lies. Equal fingerprints mean equal layouts."""

    modules: tuple[Module, ...]
    rank: int
    head: tuple[Tensor, ...] = ()
    variant: Variant = "lora"

    @property
    def slots(self) -> int:
        """Number of slots, N*r. Slot m*r + i is rank i of module m."""
        return len(self.modules) * self.rank

    @cached_property
    def fingerprint(self) -> bytes:
        """Eight bytes that differ when anything in the layout does."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).digest()[:8]

    def widths(self, part: Part) -> NDArray[np.int64]:
        """Values in each row of a part: a row is a slot, or a row of a tensor of the head."""
        if part == "head":
            rows = [[t.shape[-1]] * (t.size // t.shape[-1]) if len(t.shape) > 1 else [t.size] for t in self.head]
            return np.array([width for tensor in rows for width in tensor], dtype=np.int64)
        width = [m.d_in if part == "A" else m.d_out for m in self.modules]
        return np.repeat(np.array(width, dtype=np.int64), self.rank)

    def size(self, part: Part, slots: NDArray[np.int64] | None = None) -> int:
        """Values in a part, or in those of its slots that are named."""
        widths = self.widths(part)
        return int(widths.sum() if slots is None or part == "head" else widths[slots].sum())

    def positions(self, part: Part, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the values of the named slots lie in the part's vector, in slot order."""
        widths = self.widths(part)
        starts = np.concatenate([[0], np.cumsum(widths)])
        runs = [np.arange(starts[s], starts[s + 1]) for s in slots]
        return np.concatenate(runs) if runs else np.zeros(0, dtype=np.int64)

    def first(self, rank: int) -> NDArray[np.int64]:
        """The slots of the first so many ranks of every module."""
        slots = np.arange(self.slots, dtype=np.int64)
        return slots[slots % self.rank < rank]

    def whole(self, part: Part, vector: Vector, slots: NDArray[np.int64] | None) -> Vector:
        """The part's whole vector from that of some slots; the others are zero."""
        if slots is None or part == "head":
            return vector
        full = np.zeros(self.size(part), dtype=vector.dtype)
        full[self.positions(part, slots)] = vector
        return full

    def cut(self, part: Part, vector: Vector, slots: NDArray[np.int64] | None) -> Vector:
        """The named slots' values out of the part's whole vector."""
        return vector if slots is None or part == "head" else vector[self.positions(part, slots)]

    def matrices(self, part: Part, vector: Vector) -> list[Vector]:
        """Views of the vector, one (rank, width) matrix a module; for the head its tensors."""
        if vector.shape != (self.size(part),):
            raise ValueError(f"{part} has {vector.shape} values, the layout {self.size(part)}")
        if part == "head":
            shapes: list[tuple[int, ...]] = [t.shape for t in self.head]
        else:
            shapes = [(self.rank, m.d_in if part == "A" else m.d_out) for m in self.modules]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        pieces = np.split(vector, ends[:-1]) if shapes else []
        return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "variant": self.variant,
            "rank": self.rank,
            "modules": [[m.name, m.d_in, m.d_out] for m in self.modules],
            "head": [[t.name, list(t.shape)] for t in self.head],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Layout":
        """The layout of `to_json`; a malformed one is refused."""
        try:
            layout = Layout(
                modules=tuple(Module(str(n), int(i), int(o)) for n, i, o in value["modules"]),
                rank=int(value["rank"]),
                head=tuple(Tensor(str(n), tuple(int(d) for d in s)) for n, s in value["head"]),
                variant=value["variant"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BractError(f"not an adapter layout: {error!r}") from error
        dims: Sequence[int] = [d for m in layout.modules for d in (m.d_in, m.d_out)]
        dims = [*dims, *(d for t in layout.head for d in t.shape)]
        if not 1 <= layout.rank <= 4096 or not layout.modules or not all(0 < d < 1 << 24 for d in dims):
            raise BractError("not an adapter layout: a rank or a width is out of bounds")
        if layout.variant not in VARIANTS:
            raise BractError(f"not an adapter layout: variant {layout.variant!r:.40}")
        return layout
