"""The adapter's first values, drawn from the seed alone.

Every client and the server draw the same bits on every machine, so that a frozen A never has
to travel. NumPy promises the stream of its bit generators, but not that of `Generator`'s
distributions; so uniform numbers are made here from raw bits by exact float32 operations.
"""

import hashlib
import math

import numpy as np

from bract.adapter.layout import Layout, Part, Parts, Tensor, Vector

# The standard deviation with which BERT, RoBERTa and their kin start a classification head.
NATIVE_STD = 0.02

# Logits of a pooled head are SCALE times a cosine: sharp enough that a head made of label names
# can be sure of a class, and the temperature at which sentence encoders are trained (1/20).
SCALE = 20.0


def uniform(seed: int, name: str, size: int, bound: float) -> Vector:
    """`size` values of U(-bound, bound): a pure function of its arguments on any machine."""
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16]
    raw = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(size)
    unit = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return np.asarray(unit * np.float32(bound), dtype=np.float32)


# Where PEFT starts VeRA's lambda_d.
VERA_START = 0.1


def draw(layout: Layout, seed: int, *, pooled: bool) -> Parts:
    """A as PEFT draws it (Kaiming-uniform, U(±1/√d_in)), B = 0, and a random head.

    For VeRA, whose random matrices PEFT draws: lambda_d = 0.1 and lambda_b = 0.

    The rows of a pooled head are about SCALE long, as those made of label names are; a native one
    starts as its architecture does. Biases start at zero, the weights of normalising layers at one.
    """
    if layout.variant == "vera":
        rows = [np.full(layout.size("A"), VERA_START, dtype=np.float32)]
    else:
        rows = [uniform(seed, f"{m.name}.A", layout.rank * m.d_in, 1 / math.sqrt(m.d_in)) for m in layout.modules]
    head = [_head_tensor(tensor, seed, pooled) for tensor in layout.head]
    parts: dict[Part, Vector] = {
        "A": np.concatenate(rows),
        "B": np.zeros(layout.size("B"), dtype=np.float32),
    }
    if head:
        parts["head"] = np.concatenate(head)
    return parts


def _head_tensor(tensor: Tensor, seed: int, pooled: bool) -> Vector:
    if len(tensor.shape) > 1:
        std = SCALE / math.sqrt(tensor.shape[-1]) if pooled else NATIVE_STD
        return uniform(seed, tensor.name, tensor.size, std * math.sqrt(3))
    fill = 1.0 if tensor.name.endswith("weight") else 0.0
    return np.full(tensor.size, fill, dtype=np.float32)
