"""Measuring on held-out examples under noise: sums that no single example, or person, can be told from."""

import math

import numpy as np
from numpy.typing import NDArray

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
    names, total = list(task.sums), clipped_total(task, model, held, persons=persons)
    noisy = mechanism.noisy_mean(total, noise.normal(len(total)))
    return dict(
        zip(("examples", *names), (noisy * [1.0, *(task.sums[name].clip for name in names)]).tolist(), strict=True)
    )


def clipped_total(task: Task, model: LoraModel, held: Examples, *, persons: bool) -> NDArray[np.float64]:
    """The number of examples (or persons) and the task's sums, each in parts of its clip. No noise is on them.

    An example is measured by itself, and moves each of them by at most 1; so does a person, with the mean of his.
    """
    rows = np.zeros((len(held), len(task.sums) + 1))
    rows[:, 0] = 1.0
    for i in range(len(held)):
        one = task.measure(model, held.only(np.array([i])))
        rows[i, 1:] = [parts(float(one[name][0]), bound) for name, bound in task.sums.items()]
    if persons:  # each counts once, with the mean over his examples
        rows /= np.bincount(held.whose)[held.whose][:, None]
    total: NDArray[np.float64] = rows.sum(0)
    return total


def parts(value: float, bound: Bound) -> float:
    """A measured value in parts of its clip, from 0 to 1; one that is no number counts as the worst."""
    return 1.0 if math.isnan(value) else min(max(value / bound.clip, 0.0), 1.0)
