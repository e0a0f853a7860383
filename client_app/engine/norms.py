"""Lengths of examples' gradients, summed so that rounding stays small however many values they have."""

import torch
from torch import Tensor

LANE = 1024  # values whose squares are summed in float32


def squared_norms(gradients: Tensor) -> Tensor:
    """Squared length of each row, in float64.

    Summed in float32 over so many values at a time only: over ten million the length would err by 1e-4.
    """
    cut = gradients.shape[1] // LANE * LANE
    lanes = gradients[:, :0]
    if cut:
        lanes = torch.linalg.vector_norm(gradients[:, :cut].unflatten(1, (-1, LANE)), dim=2)
    rest = torch.linalg.vector_norm(gradients[:, cut:], dim=1, dtype=torch.float64)
    squared: Tensor = lanes.double().square().sum(1) + rest.square()
    return squared
