"""Measuring on held-out examples under noise: sums that no single example, or person, can be told from."""

import math

import numpy as np

from bract.models.lora_model import LoraModel
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.tasks.task import Bound, Examples, Sums, Task


def noisy_sums(
    task: Task, model: LoraModel, held: Examples, mechanism: Mechanism, noise: SecureNoise, *, persons: bool
) -> Sums:
    """What `task.measure` adds up to, the number of examples included, with noise in every sum.

    Guaranteed: each example is measured by itself, so that what is found of one does not depend on another, down to
    the last bit; it counts with one and with at most each sum's `clip`, whatever model the server sends. Together that
    is a vector of at most `mechanism.clip` in length, once every sum is taken in parts of its clip; a person's is the
    mean of his examples'. Fresh normal numbers are added to every sum, in float64.
    """
    names = list(task.sums)
    rows = np.zeros((len(held), len(names) + 1))
    rows[:, 0] = 1.0
    for i in range(len(held)):
        one = task.measure(model, held.only(np.array([i])))
        rows[i, 1:] = [parts(float(one[name][0]), task.sums[name]) for name in names]
    if persons:  # each counts once, with the mean over his examples
        rows /= np.bincount(held.whose)[held.whose][:, None]
    total = rows.sum(0)
    noisy = mechanism.noisy_mean(total, noise.normal(len(total)))
    return dict(
        zip(("examples", *names), (noisy * [1.0, *(task.sums[name].clip for name in names)]).tolist(), strict=True)
    )


def parts(value: float, bound: Bound) -> float:
    """A measured value in parts of its clip, from 0 to 1; one that is no number counts as the worst."""
    return 1.0 if math.isnan(value) else min(max(value / bound.clip, 0.0), 1.0)
