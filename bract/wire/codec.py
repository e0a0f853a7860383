"""How numbers are written in a payload: float32, float16, or int8 with a scale per row."""

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Vector
from bract.choices import Codec

CODECS: tuple[Codec, ...] = get_args(Codec)

Widths = NDArray[np.int64]


def encoded_size(codec: Codec, widths: Widths) -> int:
    """Bytes that rows of these widths take."""
    values = int(widths.sum())
    return {"float32": 4 * values, "float16": 2 * values, "int8": values + 4 * len(widths)}[codec]


def encode(codec: Codec, values: Vector, widths: Widths, rng: np.random.Generator) -> bytes:
    """Write rows of finite values.

    int8 rounds stochastically, so that the mean over many clients has no bias. float16 is
    limited to ±65504: larger values are cut there rather than becoming infinite.
    """
    if codec == "float32":
        return bytes(values.astype("<f4", copy=False).tobytes())
    if codec == "float16":
        return bytes(np.clip(values, -65504, 65504).astype("<f2").tobytes())
    peaks = np.maximum.reduceat(np.abs(values), _starts(widths)) if len(values) else values[:0]
    scales = np.maximum(peaks / np.float32(127), np.finfo(np.float32).tiny).astype("<f4")
    scaled = values / np.repeat(scales, widths)
    rounded = np.floor(scaled + rng.random(len(scaled), dtype=np.float32))
    return bytes(scales.tobytes() + np.clip(rounded, -127, 127).astype(np.int8).tobytes())


def decode(codec: Codec, data: bytes | memoryview, widths: Widths) -> Vector:
    """Read what `encode` wrote; the caller has checked the length against `encoded_size`."""
    if codec == "float32":
        return np.frombuffer(data, dtype="<f4").astype(np.float32)
    if codec == "float16":
        return np.frombuffer(data, dtype="<f2").astype(np.float32)
    scales = np.frombuffer(data[: 4 * len(widths)], dtype="<f4").astype(np.float32)
    steps = np.frombuffer(data[4 * len(widths) :], dtype=np.int8).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # the reader refuses what is not finite
        return np.asarray(steps * np.repeat(scales, widths), dtype=np.float32)


def _starts(widths: Widths) -> Widths:
    return np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.int64)
