"""How much may be computed together: a bound in memory, found from the model itself."""

from collections.abc import Callable

import torch
from torch import Tensor

CPU = 256 << 20  # bytes for one pass; more is no faster, as its products fill a core
SHARE = 0.5  # of a GPU's free memory


def room(device: torch.device) -> int:
    """Bytes that one pass may take."""
    return int(SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else CPU


def bytes_a_token(passed: Callable[[int], Tensor], longest: int) -> float:
    """What a forward pass keeps for the way back, for each token of its text; 0 where that cannot be told."""
    short, long = min(8, longest // 2), min(40, longest)
    try:
        return max(1.0, (_kept(passed, long) - _kept(passed, short)) / (long - short))
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError):  # a model that wants more of a text than tokens
        return 0.0


def _kept(passed: Callable[[int], Tensor], tokens: int) -> int:
    sizes: dict[int, int] = {}

    def note(kept: Tensor) -> Tensor:
        storage = kept.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return kept

    with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
        result = passed(tokens)  # holds what was kept until its sizes are added up
    total = sum(sizes.values())
    del result
    return total
