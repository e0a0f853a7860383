"""A personal phase: what stays with a client is trained once more after the last round, for the client alone."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from bract.directives.directive import Directive, Scope
from bract.errors import BractError


@dataclass(frozen=True)
class PersonalPhase(Directive):
    """So many steps, without noise, of what the plan keeps with the client.

    It reads the data unprotected. Guaranteed: nothing that comes of it leaves the client but how long it took: not its
    result, not its measure, not even that it failed; and the client's state stays as the rounds left it, so that a run
    may go on. A client refuses another number of steps than the run's settings have.
    """

    count: int

    name: ClassVar[str] = "personal"
    reads: ClassVar[Literal["values", "noisy", "data"]] = "data"
    measures: ClassVar[bool] = True  # it comes after the last measuring

    def check(self, scope: Scope) -> None:
        """It is a number of steps."""
        if self.count < 1:
            raise BractError("the plan's personal phase has no steps")

    def afterwards(self) -> int:
        """As many as were asked for."""
        return self.count
