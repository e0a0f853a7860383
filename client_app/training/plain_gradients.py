"""Gradients that protect nothing: shuffled passes, the mean of a batch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bract.tasks.task import Examples
from client_app.engine.engine import Engine
from client_app.engine.flat_buffer import Flat


class PlainGradients:
    """The mean gradient of a batch, of everything that trains."""

    def __init__(self, engine: Engine, flat: Flat, batch: int, rng: np.random.Generator) -> None:
        self._engine, self._flat, self._batch, self._rng = engine, flat, batch, rng
        self.head_share = 0.0

    def draws(self, examples: int, steps: int) -> Iterator[NDArray[np.int64]]:
        """Shuffled passes."""
        return batches(examples, self._batch, steps, self._rng)

    def gradient(self, examples: Examples, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Of one step; and the batch's summed loss."""
        total, loss = self._flat.zeros(), torch.zeros((), device=self._flat.device)
        self._engine.start()
        for some in self._engine.split(examples, rows, clipped=False):
            loss += self._engine.add(examples, some, total, None)
        return total / len(rows), loss


def batches(examples: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """So many batches: shuffled passes, each example once a pass."""
    left = steps
    while left:
        order = rng.permutation(examples)
        for start in range(0, examples, batch):
            yield order[start : start + batch]
            left -= 1
            if not left:
                return
