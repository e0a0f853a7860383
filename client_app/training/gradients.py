"""The gradient of a step, from the gradients that an engine adds up: plainly, or as a `Mechanism` promises."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bract.errors import BractError
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.tasks.task import Examples
from client_app.engine.engine import Engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.privacy.clip import Clip


class PlainGradients:
    """The mean gradient of a batch, of everything that trains. It protects nothing."""

    def __init__(self, engine: Engine, flat: FlatBuffer, batch: int, rng: np.random.Generator) -> None:
        self._engine, self._flat, self._batch, self._rng = engine, flat, batch, rng
        self.head_share = 0.0

    def draws(self, examples: Examples, steps: int) -> Iterator[NDArray[np.int64]]:
        """Shuffled passes."""
        return batches(len(examples), self._batch, steps, self._rng)

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


class PrivateGradients:
    """A noisy mean of clipped gradients, of everything that trains: DP-SGD. What a `Mechanism` promises is done here.

    Guaranteed: one example more or less changes the sum before the noise by at most `mechanism.clip` in
    Euclidean length, over all trained values together; the noise has `mechanism.deviation` in every
    coordinate; each example is in a draw by itself with mechanism.rate.

    With `per_person`, all of that holds of a person with any number of examples: each person is in a draw by itself;
    of its examples so many take part at most, drawn anew in every step, uniformly and in secret; the mean of their
    gradients is clipped as one.

    Values outside `flat.inside` count
    as not trained: their gradients are zero before the clip, and they get no noise. A parameter that would
    train and is not among them is an error (BractError) before anything is updated.
    """

    def __init__(
        self,
        engine: Engine,
        flat: FlatBuffer,
        mechanism: Mechanism,
        noise: SecureNoise,
        *,
        groups: str = "all",
        per_person: int = 0,
    ) -> None:
        if missing := flat.missing():
            raise BractError(f"{missing[0]} would be trained and not clipped")
        self._engine, self._flat, self._mechanism, self._noise = engine, flat, mechanism, noise
        self._per_person = per_person
        self._clip = Clip(mechanism.clip, groups=groups == "head" and 0 < flat.factors < flat.size)

    @property
    def head_share(self) -> float:
        """Of the squared length of clipped gradients; private data."""
        return self._clip.head_share

    def draws(self, examples: Examples, steps: int) -> Iterator[NDArray[np.int64]]:
        """Poisson draws: their sizes vary, and one may be empty."""
        if not self._per_person:
            for _ in range(steps):
                yield self._mechanism.sample(self._noise, len(examples))
            return
        order = np.argsort(examples.whose, kind="stable")
        each = np.split(order, np.flatnonzero(np.diff(examples.whose[order])) + 1) if len(order) else []
        for _ in range(steps):
            drawn = [self._some(each[i]) for i in self._mechanism.sample(self._noise, len(each))]
            yield np.concatenate([np.zeros(0, dtype=np.int64), *drawn])

    def _some(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of one person's examples: all of them, or as many as may take part, each with the same chance."""
        return rows[self._noise.choice(len(rows), self._per_person)]

    def gradient(self, examples: Examples, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Of one step, of a whole draw; and the draw's summed loss, which is private data."""
        total, loss = self._flat.zeros(), torch.zeros((), device=self._flat.device)
        self._engine.start()
        for some in self._split(examples, rows):
            loss += self._engine.add(examples, some, total, self._clip.scales, self._whose(examples, some))
        if not len(rows):
            self._spend_time(examples)
        return self._noisy(total), loss

    def clipped_sum(self, examples: Examples, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of a whole draw, without noise: private data, which nobody may see but as a part of a noisy sum.

        What is computed at once is summed in float32, and these sums in float64.
        """
        total = np.zeros(self._flat.size)
        self._engine.start()
        for some in self._split(examples, rows):
            part = self._flat.zeros()
            self._engine.add(examples, some, part, self._clip.scales, self._whose(examples, some))
            total += part.cpu().numpy()
        if not len(rows):
            self._spend_time(examples)
        return total if self._flat.inside is None else total * self._flat.inside.cpu().numpy()

    def _spend_time(self, examples: Examples) -> None:
        """As long as an average draw takes, with nothing to show for it: an empty one must not be told by its time."""
        rows, scratch = np.arange(min(len(examples), round(self._mechanism.batch))), self._flat.zeros()
        for some in self._split(examples, rows) if len(rows) else []:
            self._engine.add(examples, some, scratch, torch.zeros_like, self._whose(examples, some))

    def _split(self, examples: Examples, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return self._engine.split(examples, rows, clipped=True, persons=self._whose(examples, rows))

    def _whose(self, examples: Examples, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return examples.whose[rows] if self._per_person else None

    def _noisy(self, total: Tensor) -> Tensor:
        """The noisy mean, where the sum lies: in float64, so on the processor where the device has none."""
        place = torch.device("cpu") if total.device.type == "mps" else total.device
        normal, inside = torch.from_numpy(self._noise.normal(self._flat.size)).to(place), self._flat.inside
        if inside is not None:
            normal = normal * inside.to(place)
        return self._mechanism.noisy_mean(total.to(place), normal).to(total.device)
