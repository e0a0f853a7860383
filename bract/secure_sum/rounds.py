"""What a round's sum is of: its whole numbers, by the settings that server and members have alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout
from bract.privacy.mechanism import Mechanism, find_for_clients, find_for_sum
from bract.secure_sum.grid import Grid
from bract.secure_sum.vector import Shape
from bract.settings.schema import Settings
from bract.tasks.task import Sums, Task

FIGURE = 2.0**16  # steps of one in a figure, which counts in parts of its clip

Kind = Literal["changes", "gradients", "clients"]
Figures = dict[str, int]  # by name: the examples, then the task's sums


@dataclass(frozen=True)
class RoundOfSum:
    """A sum of members' weighted changes, of their clipped gradients, or of their clipped updates.

    Guaranteed: one example (or person, or client) more or less in a member's contribution changes its whole numbers by
    at most `sensitivity` in length, where the kind is not `changes`.
    """

    kind: Kind
    grid: Grid
    values: int
    sensitivity: float  # in steps of the grid; 0 where nothing bounds it

    @staticmethod
    def of(settings: Settings, members: int, honest: int, values: int) -> "RoundOfSum":
        """The same at every member and the server, to the last bit of the grid.

        `honest`: members whose shares make up the noise.
        """
        kind = kind_of(settings)
        if kind == "changes" or not values:
            return RoundOfSum(kind, Grid.for_weighted(), values, 0.0)
        if narrow(settings):
            most = Grid.sensitivity(values, narrow=True)
            all_noise = mechanism_of(settings, members).sigma * most * math.sqrt(members / honest)
            return RoundOfSum(kind, Grid.for_narrow(settings.privacy.clip, values, members, all_noise), values, most)
        most = Grid.sensitivity(values)
        # Sized for members that add all of the noise: which do, nobody has to know.
        deviation = mechanism_of(settings, members).sigma * most
        return RoundOfSum(kind, Grid.for_clipped(settings.privacy.clip, values, members, deviation), values, most)

    def shape(self, layout: Layout, task: Task) -> Shape:
        """Of the array that travels: the values, and behind them the weight and the figures."""
        return Shape(self.values, self.grid.bits, 1 + len(figure_names(task)), layout.fingerprint)


def kind_of(settings: Settings) -> Kind:
    """What members send."""
    privacy = settings.privacy
    if privacy.noise != "shared" or privacy.unit == "none":
        return "changes"
    return "clients" if privacy.unit == "client" else "gradients"


def narrow(settings: Settings) -> bool:
    """Whether words have 16 bits."""
    return settings.wire.codec == "float16"


def mechanism_of(settings: Settings, members: int) -> Mechanism:
    """What protects each example, person or client in the sum of so many members."""
    if settings.privacy.unit == "client":
        return find_for_clients(settings.privacy, members, settings.federation.fraction, settings.rounds)
    return find_for_sum(settings.privacy, settings.train, settings.rounds)


def figure_names(task: Task) -> tuple[str, ...]:
    """What is measured, in order."""
    return ("examples", *task.sums)


def in_steps(parts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Figures in parts of their clips, as whole numbers."""
    return np.rint(parts * FIGURE).astype(np.int64)


def exact_figures(sums: Mapping[str, float], task: Task) -> Figures:
    """A member's sums as whole numbers. None may be told but as a part of a sum over members."""
    clips = {"examples": 1.0, **{name: bound.clip for name, bound in task.sums.items()}}
    steps = in_steps(np.array([sums[name] / clip for name, clip in clips.items()]))
    return {name: int(step) for name, step in zip(clips, steps, strict=True)}


def sums_of(figures: Sequence[int], task: Task) -> Sums:
    """The sums that whole numbers stand for."""
    clips = (1.0, *(bound.clip for bound in task.sums.values()))
    return {name: step / FIGURE * clip for name, step, clip in zip(figure_names(task), figures, clips, strict=True)}
