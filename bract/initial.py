"""The adapter's first values, drawn from the seed alone.

Every client and the server draw the same bits on every machine, so that a frozen A never has
to travel. NumPy promises the stream of its bit generators, but not that of `Generator`'s
distributions; so uniform numbers are made here from raw bits by exact float32 operations.
"""

import hashlib
import math

import numpy as np

from bract.layout import Layout, Part, Parts, Tensor, Vector

# The standard deviation with which BERT, RoBERTa and their kin start a classification head.
NATIVE_STD = 0.02


def uniform(seed: int, name: str, size: int, bound: float) -> Vector:
    """`size` values of U(-bound, bound): a pure function of its arguments on any machine."""
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16]
    raw = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(size)
    unit = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return np.asarray(unit * np.float32(bound), dtype=np.float32)


def draw(layout: Layout, seed: int, *, head_bound: float | None = None) -> Parts:
    """A as PEFT draws it (Kaiming-uniform, U(±1/√d_in)), B = 0, and a random head.

    `head_bound` overrides the width of the head's weights; biases start at zero and the
    weights of normalising layers at one.
    """
    rows = [uniform(seed, f"{m.name}.A", layout.rank * m.d_in, 1 / math.sqrt(m.d_in)) for m in layout.modules]
    bound = NATIVE_STD * math.sqrt(3) if head_bound is None else head_bound
    head = [_head_tensor(tensor, seed, bound) for tensor in layout.head]
    parts: dict[Part, Vector] = {
        "A": np.concatenate(rows),
        "B": np.zeros(layout.size("B"), dtype=np.float32),
    }
    if head:
        parts["head"] = np.concatenate(head)
    return parts


def _head_tensor(tensor: Tensor, seed: int, bound: float) -> Vector:
    if len(tensor.shape) > 1:
        return uniform(seed, tensor.name, tensor.size, bound)
    fill = 1.0 if tensor.name.endswith("weight") else 0.0
    return np.full(tensor.size, fill, dtype=np.float32)
