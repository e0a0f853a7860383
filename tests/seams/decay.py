"""A directive: what a client trains is pulled towards zero in every step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from bract.adapter.layout import Layout, Part
from bract.directives.directive import Directive, Scope, Shape, Shaping, Slots
from bract.errors import BractError


@dataclass(frozen=True)
class Decay(Directive):
    """Adds `strength` times the values to every step's gradient."""

    strength: float

    name: ClassVar[str] = "decay"

    def check(self, scope: Scope) -> None:
        """It pulls, and does not push."""
        if not 0 <= self.strength < 10:
            raise BractError("the plan's decay is out of bounds")

    def shaping(self, layout: Layout, slots: Slots | None) -> Shaping | None:
        """Of the values alone."""

        def bound(positions: Callable[[Part, Slots], Any]) -> Shape:
            def shape(values: Any, gradient: Any) -> None:
                gradient += self.strength * values

            return shape

        return bound
