"""What an engine is: it computes gradients of examples and adds them up, each scaled by itself where that is asked."""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bract.tasks.task import Examples

Rows = NDArray[np.int64]

# Given squared lengths of each record's gradient, of its adapter factors and of its head (2 x n, float64), it gives
# what both are multiplied with before they are added up (2 x n). A record is an example, or a person.
ClipScales = Callable[[Tensor], Tensor]


class Engine(Protocol):
    """Adds up gradients over the trained values; between `with` and its end the model belongs to it.

    Guaranteed of `add`: with `scales`, every example's gradient goes into the total by itself and scaled by
    them; without, the total gets the plain sum. With `persons`, a number for each row, the mean of a person's
    gradients stands in the place of an example's; all of its rows must be there. Nothing else of the model changes.
    """

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self) -> None:
        """Once before every step: the parameters may have changed."""

    def split(self, examples: Examples, rows: Rows, *, clipped: bool, persons: Rows | None = None) -> list[Rows]:
        """A batch in micro-batches that are computed one after the other; none cuts a person in two."""

    def add(
        self,
        examples: Examples,
        rows: Rows,
        total: Tensor,
        scales: ClipScales | None,
        persons: Rows | None = None,
    ) -> Tensor:
        """Add one micro-batch's gradients to the total; returns its summed loss."""
