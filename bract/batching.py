"""Texts in groups of like length, so that little of what is computed is padding; and as padded tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CALL = 48  # tokens' worth of time that a pass costs on a core, whatever is in it


def by_length(lengths: Sequence[int], *, most: int, call: int = CALL, rows: int = 1 << 30) -> list[NDArray[np.int64]]:
    """Positions in groups, each padded to its longest, such that the whole costs least.

    A group costs its padded tokens and `call` tokens more, for what a pass costs whatever is in it. No group has
    more than `most` padded tokens, but for a text that is longer by itself, nor more than `rows` texts. Every
    position is in one group.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    sizes = sizes[order]
    count = len(sizes)
    best = np.zeros(count + 1)  # of the shortest texts, so many
    cut = np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        longest = max(int(sizes[end - 1]), 1)
        first = max(0, end - max(1, min(rows, most // longest)))
        costs = best[first:end] + (end - np.arange(first, end)) * longest + call
        at = int(costs.argmin())
        best[end], cut[end] = costs[at], first + at
    groups = []
    end = count
    while end:
        groups.append(order[cut[end] : end])
        end = int(cut[end])
    return groups[::-1]


def batch_of(texts: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """Token ids and mask, padded to the longest of these texts only."""
    import torch

    width = max(1, *(len(ids) for ids in texts))
    ids = torch.full((len(texts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids.to(device), mask.to(device)
