"""How much may be computed together: a memory budget, and what a token takes of it, found from the model itself."""

from collections.abc import Callable

import torch
from torch import Tensor

CPU_BUDGET = 256 << 20  # bytes for one pass; more is no faster, as its products fill a core
GPU_SHARE = 0.5  # of a GPU's free memory


def memory_budget(device: torch.device) -> int:
    """Bytes that one pass may take."""
    return int(GPU_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else CPU_BUDGET


def bytes_per_token(forward: Callable[[int], Tensor], longest: int) -> float:
    """What a forward pass keeps for the way back, for each token of its text; 0 where that cannot be told."""
    short, long = min(8, longest // 2), min(40, longest)
    try:
        return max(1.0, (_saved_bytes(forward, long) - _saved_bytes(forward, short)) / (long - short))
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError):  # a model that wants more of a text than tokens
        return 0.0


def _saved_bytes(forward: Callable[[int], Tensor], tokens: int) -> int:
    sizes: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        result = forward(tokens)  # holds what was saved until its sizes are added up
    total = sum(sizes.values())
    del result
    return total
