"""The one array of a message: a header, then the selected slots' rows, in slot order.

    magic  version  codec  parts  flags  round  layout  [bitmap]  rows of A, of B, of the head
    4      1        1      1      1      4      8       slots/8

Reading trusts nothing: every length is computed from the layout that the reader already has,
and compared before anything is allocated. No pickle, no JSON, no nested objects.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import PARTS, Layout, Part, Parts
from bract.choices import Codec
from bract.errors import BractError
from bract.wire.codec import CODECS, decode, encode, encoded_size

MAGIC = b"BRCT"
VERSION = 1
HEADER = struct.Struct("<4sBBBBI8s")
PARTIAL = 1  # flag: a bitmap of slots follows the header

Slots = NDArray[np.int64]


class PayloadError(BractError):
    """A payload that does not fit: refused, and nothing of it used."""


@dataclass(frozen=True)
class Payload:
    """What a payload carries: vectors by part, and the slots in them (None: all)."""

    round: int
    parts: Parts
    slots: Slots | None = None

    @property
    def values(self) -> int:
        """Numbers carried, scales and header apart."""
        return sum(len(vector) for vector in self.parts.values())


def pack(
    layout: Layout,
    payload: Payload,
    codec: Codec = "float32",
    rng: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Write a payload. `rng` feeds int8's stochastic rounding."""
    rng = rng or np.random.default_rng()
    slots = payload.slots
    names = [part for part in PARTS if part in payload.parts]
    mask = sum(1 << PARTS.index(part) for part in names)
    flags = 0 if slots is None else PARTIAL
    pieces = [HEADER.pack(MAGIC, VERSION, CODECS.index(codec), mask, flags, payload.round, layout.fingerprint)]
    if slots is not None:
        present = np.zeros(layout.slots, dtype=bool)
        present[slots] = True
        pieces.append(np.packbits(present).tobytes())
    for part in names:
        vector = payload.parts[part]
        if len(vector) != layout.size(part, slots):
            raise PayloadError(f"part {part} has {len(vector)} values, the layout asks for {layout.size(part, slots)}")
        if not np.isfinite(vector).all():
            raise PayloadError(f"part {part} holds a value that is not finite")
        pieces.append(encode(codec, vector, _widths(layout, part, slots), rng))
    return np.frombuffer(b"".join(pieces), dtype=np.uint8)


def unpack(
    layout: Layout,
    data: NDArray[np.uint8],
    *,
    round: int,  # noqa: A002 - the field's name
    parts: Collection[Part],
) -> Payload:
    """Read a payload that must be of this layout and round and carry exactly these parts.

    Guaranteed: what is returned has the layout's shapes and only finite values; anything else
    raises PayloadError, and nothing larger than the layout's own size is ever allocated.
    """
    view = _bytes_of(data)
    names, codec, flags = _read_header(layout, view, round)
    if set(names) != set(parts):
        raise PayloadError(f"parts {names or 'none'}, the plan asks for {[p for p in PARTS if p in parts]}")
    offset = HEADER.size
    slots: Slots | None = None
    if flags & PARTIAL:
        slots, offset = _read_bitmap(layout, view, offset)
    lengths = [encoded_size(codec, _widths(layout, part, slots)) for part in names]
    if len(view) != offset + sum(lengths):
        raise PayloadError(f"{len(view)} bytes, the header promises {offset + sum(lengths)}")
    vectors: Parts = {}
    for part, length in zip(names, lengths, strict=True):
        vector = decode(codec, view[offset : offset + length], _widths(layout, part, slots))
        if not np.isfinite(vector).all():
            raise PayloadError(f"part {part} holds a value that is not finite")
        vectors[part] = vector
        offset += length
    return Payload(round, vectors, slots)


def _bytes_of(data: NDArray[np.uint8]) -> memoryview:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 1:
        raise PayloadError("the array is not a row of bytes")
    view = memoryview(np.ascontiguousarray(data))  # type: ignore[arg-type]  # an array is a buffer
    if len(view) < HEADER.size:
        raise PayloadError(f"{len(view)} bytes are shorter than a header")
    return view


def _read_header(layout: Layout, view: memoryview, wanted: int) -> tuple[list[Part], Codec, int]:
    """The parts that follow, their codec and the flags, of a payload of this layout and round."""
    magic, version, codec_id, mask, flags, sent, fingerprint = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise PayloadError("the array does not begin with Bract's mark")
    if version != VERSION:
        raise PayloadError(f"payload format {version}, this side speaks {VERSION}")
    if fingerprint != layout.fingerprint:
        raise PayloadError(f"layout {fingerprint.hex()}, this side has {layout.fingerprint.hex()}")
    if sent != wanted:
        raise PayloadError(f"round {sent}, this is round {wanted}")
    if codec_id >= len(CODECS) or flags not in (0, PARTIAL):
        raise PayloadError(f"unknown codec {codec_id} or flags {flags}")
    if mask >> len(PARTS):
        raise PayloadError(f"unknown parts {mask:#x}")
    return [part for i, part in enumerate(PARTS) if mask >> i & 1], CODECS[codec_id], flags


def _read_bitmap(layout: Layout, view: memoryview, offset: int) -> tuple[Slots, int]:
    end = offset + (layout.slots + 7) // 8
    if len(view) < end:
        raise PayloadError("the bitmap of slots is cut short")
    bits = np.unpackbits(np.frombuffer(view[offset:end], dtype=np.uint8))
    if bits[layout.slots :].any():
        raise PayloadError("the bitmap names slots that the layout does not have")
    return np.flatnonzero(bits[: layout.slots]).astype(np.int64), end


def _widths(layout: Layout, part: Part, slots: Slots | None) -> NDArray[np.int64]:
    widths = layout.widths(part)
    return widths if slots is None or part == "head" else widths[slots]
