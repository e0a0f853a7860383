"""Texts as batches: grouped by length, so that little of what is computed is padding, and padded into tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PASS_COST = 48  # tokens' worth of time that a pass costs on a core, whatever is in it


def by_length(
    lengths: Sequence[int], *, max_tokens: int, pass_cost: int = PASS_COST, max_rows: int = 1 << 30
) -> list[NDArray[np.int64]]:
    """Positions in groups, each padded to its longest, such that the whole costs least.

    A group costs its padded tokens and `pass_cost` tokens more, for what a pass costs whatever is in it. No group has
    more than `max_tokens` padded tokens, but for a text that is longer by itself, nor more than `max_rows` texts.
    Every position is in one group.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    sizes = sizes[order]
    count = len(sizes)
    best = np.zeros(count + 1)  # the least cost of so many of the shortest texts
    cut = np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        longest = max(int(sizes[end - 1]), 1)
        first = max(0, end - max(1, min(max_rows, max_tokens // longest)))
        costs = best[first:end] + (end - np.arange(first, end)) * longest + pass_cost
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
    import torch  # the server groups texts, too, and does without

    width = max(1, *(len(ids) for ids in texts))
    ids = torch.full((len(texts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids.to(device), mask.to(device)
