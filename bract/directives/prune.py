"""HetLoRA's self-pruning: a client may give up the tail of its ranks when training makes it smaller.

tail(r) = ranks from c = max(floor(keep · r), least) on, in every module
size    = ‖B_tail‖_F · ‖A_tail‖_F, each norm over all modules together
loss    = F_k + penalty · size;   after training: size < size at the start  =>  r <- c
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bract.adapter.layout import Layout, Part, Parts, Vector
from bract.directives.directive import Directive, Finish, Notes, Scope, Shape, Shaping, Slots
from bract.errors import BractError

RANK = "rank"  # the note on the client's disk


@dataclass(frozen=True)
class Prune(Directive):
    """The client may give up the tail of its ranks: those from floor(keep * rank) on, but never below `least`.

    While it trains, the tail's norm is held down with the strength `penalty`. Guaranteed: the rank only shrinks, and is
    on the client's disk before its reply leaves.
    """

    keep: float
    penalty: float
    least: int = 1

    name: ClassVar[str] = "prune"
    decides_slots: ClassVar[bool] = True
    remembers: ClassVar[str] = "its rank"
    measures: ClassVar[bool] = True

    def check(self, scope: Scope) -> None:
        """Both factors train, over slots that are named."""
        if not (
            0 < self.keep <= 1
            and 0 <= self.penalty < math.inf
            and self.least >= 1
            and scope.slots
            and (not scope.trains or {"A", "B"} <= set(scope.trains))
        ):
            raise BractError("the plan's pruning is out of bounds")

    def carried(self, layout: Layout, slots: Slots | None, notes: Notes) -> Slots | None:
        """The first ranks of every module, no more than it was left with."""
        if slots is None or not np.array_equal(slots, layout.first(rank_of(layout, slots))):
            raise BractError("the plan prunes slots that are not the first ranks of every module")
        if RANK not in notes:
            return slots
        if not notes[RANK].isdecimal():
            raise BractError(f"the rank in the client's state is damaged: {notes[RANK]!r:.40}")
        return np.intersect1d(slots, layout.first(int(notes[RANK])))

    def shaping(self, layout: Layout, slots: Slots | None) -> Shaping | None:
        """The gradient of penalty · size; none where nothing is left to prune."""
        if slots is None or not self.penalty:
            return None
        held = tail(layout, rank_of(layout, slots), self)
        return _penalty(self.penalty, held) if len(held) else None

    def finish(self, layout: Layout, slots: Slots | None, before: Parts, after: Parts) -> Finish:
        """Without the tail, if training made it smaller."""
        if slots is None:
            return Finish(None)
        rank = rank_of(layout, slots)
        last = tail(layout, rank, self)
        if size(layout, after["A"], after["B"], last) < size(layout, before["A"], before["B"], last):
            slots = layout.first(kept_rank(rank, self))
        return Finish(slots, {RANK: str(rank_of(layout, slots))})

    def sent(self, layout: Layout, carried: Slots | None, got: Slots | None) -> bool:
        """The first ranks of every module, as many as came down or fewer."""
        least = self.least * len(layout.modules)
        if got is None or carried is None or not min(least, len(carried)) <= len(got) <= len(carried):
            return False
        return np.array_equal(got, layout.first(rank_of(layout, got)))

    def expects(self) -> tuple[str, int | None]:
        """It may become fewer."""
        return "at most", None


def rank_of(layout: Layout, slots: Slots) -> int:
    """The rank of which these are the slots, where they are the first ranks of every module."""
    return len(slots) // len(layout.modules)


def _penalty(strength: float, slots: Slots) -> Shaping:
    def bound(positions: Callable[[Part, Slots], Any]) -> Shape:
        where_a, where_b = positions("A", slots), positions("B", slots)

        def shape(values: Any, gradient: Any) -> None:
            """At a norm of zero the penalty's gradient is zero."""
            a, b = values[where_a], values[where_b]
            long, wide = a.norm(), b.norm()
            least = float(np.finfo(np.float32).tiny)
            gradient[where_a] += strength * wide * (a / long.clamp_min(least))
            gradient[where_b] += strength * long * (b / wide.clamp_min(least))

        return shape

    return bound


def kept_rank(rank: int, prune: Prune) -> int:
    """The rank that is left if the tail goes; the same rank where there is no tail."""
    # What floor(0.7 * 10) = 7 means should not hang on 0.7 * 10 = 6.999...: so to nine digits.
    return min(rank, max(prune.least, math.floor(round(prune.keep * rank, 9))))


def tail(layout: Layout, rank: int, prune: Prune) -> Slots:
    """The slots of the tail; none where the rank cannot shrink."""
    inside = layout.first(rank)
    return inside[inside % layout.rank >= kept_rank(rank, prune)]


def size(layout: Layout, a: Vector, b: Vector, slots: Slots) -> float:
    """‖B_tail‖ · ‖A_tail‖."""
    return float(
        np.linalg.norm(a[layout.positions("A", slots)].astype(np.float64))
        * np.linalg.norm(b[layout.positions("B", slots)].astype(np.float64))
    )
