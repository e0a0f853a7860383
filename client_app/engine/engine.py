"""What makes gradients of examples: the fused engine, or Opacus and autograd, which it is measured against."""

from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bract.tasks.task import Examples
from client_app.privacy.clip import Clip

Rows = NDArray[np.int64]


class Engine(Protocol):
    """Adds up gradients over the trained values; between `with` and its end the model belongs to it.

    Guaranteed of `add`: with a clip, every example's gradient goes into the total by itself and scaled by
    it; without one, the total gets the plain sum. Nothing else of the model changes.
    """

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self) -> None:
        """Once before every step: the parameters may have changed."""

    def split(self, examples: Examples, rows: Rows, *, clipped: bool) -> list[Rows]:
        """A draw in pieces that are computed one after the other."""

    def add(self, examples: Examples, rows: Rows, total: Tensor, clip: Clip | None) -> Tensor:
        """Add one piece's gradients to the total; returns its summed loss."""
