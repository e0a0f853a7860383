"""The seam at which tasks differ: engines know batches and the losses of examples, and no task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = Sequence[NDArray[np.int32]]

# (model, token ids, mask, targets) -> the loss of each example. All but the model are torch tensors.
Losses = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True)
class Examples:
    """Tokenised examples, and what the model is to give for each: a row of `targets` an example."""

    tokens: Tokens
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.tokens)
