"""Gradients of persons: the mean of each one's examples' gradients, which is clipped as one."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bract import batching
from bract.tasks.task import Rows


@dataclass(frozen=True)
class Persons:
    """Whose the rows of a micro-batch are: numbered from 0, and how many rows each has."""

    of_row: Tensor
    counts: Tensor

    @staticmethod
    def of(persons: Rows, device: torch.device) -> "Persons":
        """From any numbers that tell persons apart, a row each."""
        _, numbered, counts = np.unique(persons, return_inverse=True, return_counts=True)
        return Persons(torch.from_numpy(numbered).to(device), torch.from_numpy(counts).to(device))

    def sum(self, values: Tensor) -> Tensor:
        """Of each person's rows."""
        return values.new_zeros(len(self.counts), *values.shape[1:]).index_add_(0, self.of_row, values)

    def mean(self, values: Tensor) -> Tensor:
        """Of each person's rows."""
        return self.sum(values) / self.counts.to(values).view(-1, *[1] * (values.dim() - 1))

    def shares(self, scales: Tensor) -> Tensor:
        """What a row is multiplied with, so that rows' sum is that of persons' means, each with its scale."""
        return (scales / self.counts)[..., self.of_row]

    def same(self) -> Tensor:
        """Whether two rows are one person's."""
        return self.of_row[:, None] == self.of_row[None, :]


def split_whole(
    lengths: Rows, persons: Rows, rows: Rows, *, max_tokens: int, max_rows: int, pass_cost: int
) -> list[Rows]:
    """A draw in micro-batches that cut no person in two: persons whose longest texts are alike come together.

    `lengths` and `persons` are the rows'. Bounds are kept as if each person had as many rows as the one with most;
    where one person is beyond them, it is a micro-batch by itself.
    """
    order = np.argsort(persons, kind="stable")
    starts = np.flatnonzero(np.diff(persons[order], prepend=-1))
    members = np.split(order, starts[1:])
    most = max(len(one) for one in members)
    groups = batching.by_length(
        [int(lengths[one].max()) for one in members],
        max_tokens=max(1, max_tokens // most),
        max_rows=max(1, max_rows // most),
        pass_cost=pass_cost,
    )
    return [rows[np.concatenate([members[i] for i in group])] for group in groups]
