"""LoRA-A2's selection: a client selects the slots that matter to it, trains these and sends these alone.

probe    train for some steps, unmasked; then everything goes back
score    one number a slot, from what the probe changed, or from the factors as they were released
select   the `count` highest, of the whole model
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part, Parts, Vector
from bract.choices import Score
from bract.directives.directive import Directive, Probe, Scope, Selection, Slots
from bract.errors import BractError
from bract.settings.schema import TrainSettings

SCORES: tuple[Score, ...] = get_args(Score)


@dataclass(frozen=True)
class Select(Directive):
    """The client selects `count` slots itself.

    Guaranteed: what is not selected is where it was, to the bit, whatever the probe did. With a probe, the score is
    computed from the same kind of gradients that training uses: noisy ones under privacy, which the mechanism counts.
    `released` is a score of the factors that came down, and takes no probe.
    """

    count: int
    score: Score = "product"
    reuse: bool = False  # the probe is the first part of training, not an extra that is put back

    name: ClassVar[str] = "select"
    reads: ClassVar[Literal["values", "noisy", "data"]] = "noisy"
    decides_slots: ClassVar[bool] = True
    steps_called: ClassVar[str] = "a probe"

    @property
    def probes(self) -> bool:
        """Whether selecting takes training."""
        return self.score != "released"

    @property
    def within(self) -> bool:
        """Whether the probe's steps are the first of the round's own."""
        return self.probes and self.reuse

    def check(self, scope: Scope) -> None:
        """One factor trains, and there are so many slots."""
        if not (1 <= self.count <= scope.count and self.score in SCORES and len(_factors(scope.trains)) == 1):
            raise BractError("the plan's selection asks for an unknown score, for no slot or for more than there are")

    def steps(self, train: TrainSettings, epoch: int) -> int:
        """A probe is one epoch. Where `train.steps` rules instead of epochs, at most a fifth of them.

        LoRA-A2 probes for one epoch and trains for five.
        """
        if not self.probes:
            return 0
        return min(epoch, math.ceil(train.steps / 5)) if train.steps else epoch

    def select(self, layout: Layout, scope: Scope, before: Parts, slots: Slots | None, probe: Probe) -> Selection:
        """The best slots. Everything is put back, or, where the probe is reused, everything but these and the head."""
        if not self.probes:
            return Selection(best(standing(layout, before), self.count, slots))
        (part,) = _factors(scope.trains)
        probed = probe(gradients=self.score == "sensitivity")
        change, frozen = probed.after[part] - before[part], before["A" if part == "B" else "B"]
        found = scores(layout, part, change, frozen, probed.gradients.get(part, change), self.score)
        if not np.isfinite(found).all():
            raise BractError(f"the probe diverged: {part} is no longer finite; try a smaller train.lr")
        selected = best(found, self.count, slots)
        start: Parts = {part: before[part].copy()}
        if self.reuse:
            where = layout.positions(part, selected)
            start[part][where] = probed.after[part][where]
        elif "head" in scope.trains:
            start["head"] = before["head"]
        return Selection(selected, start)

    def sent(self, layout: Layout, carried: Slots | None, got: Slots | None) -> bool:
        """As many as it may select, of those that it carries."""
        allowed = np.arange(layout.slots) if carried is None else carried
        return got is not None and len(got) == self.count and bool(np.isin(got, allowed).all())

    def expects(self) -> tuple[str, int | None]:
        """Which slots is not known before: wide ones are longer."""
        return "about", self.count


def _factors(trains: tuple[Part, ...]) -> list[Part]:
    return [part for part in trains if part != "head"]


def norms(layout: Layout, part: Part, vector: Vector) -> NDArray[np.float64]:
    """The length of each slot's row of A or column of B."""
    return np.sqrt(_sums(layout, part, vector.astype(np.float64) ** 2))


def scores(
    layout: Layout, part: Part, change: Vector, frozen: Vector, gradient: Vector, score: Score
) -> NDArray[np.float64]:
    """One number a slot for the change that a probe of `part` made, the other factor being frozen.

    product       ‖ΔB[:,i] A[i,:]‖_F = ‖ΔB[:,i]‖ ‖A[i,:]‖, and so for A: what the change does to the model
    magnitude     ‖ΔB[:,i]‖: what it does to the factor
    sensitivity   Σ_j |g_j ΔB[j,i]|, with g the probe's mean gradient: what it does to the loss, to first order
    """
    if score == "sensitivity":
        return _sums(layout, part, np.abs(gradient.astype(np.float64) * change))
    if score == "magnitude":
        return norms(layout, part, change)
    other: Part = "A" if part == "B" else "B"
    return norms(layout, part, change) * norms(layout, other, frozen)


def standing(layout: Layout, parts: Parts) -> NDArray[np.float64]:
    """What each slot does to the model as it stands: ‖B[:,i]‖ ‖A[i,:]‖."""
    return norms(layout, "B", parts["B"]) * norms(layout, "A", parts["A"])


def best(values: NDArray[np.float64], count: int, inside: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The slots with the highest values, of all or of those named, in slot order; of equal ones the first."""
    if inside is not None:
        values = np.where(np.isin(np.arange(len(values)), inside), values, -1.0)
    order = np.argsort(-values, kind="stable")
    return np.sort(order[:count]).astype(np.int64)


def _sums(layout: Layout, part: Part, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over each slot's run of values."""
    widths = layout.widths(part)
    starts = np.cumsum(widths) - widths
    return np.add.reduceat(values, starts)
