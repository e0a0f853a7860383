"""The optimizer, over everything that trains as one vector."""

import torch
from torch import Tensor, nn

from bract.settings.schema import TrainSettings
from client_app.engine.flat_buffer import FlatBuffer


class FlatOptimizer:
    """A fresh AdamW or SGD of torch's; B has a rate of its own.

    Values, gradients and moments are one buffer a part, whatever the number of the model's parameters, which get
    their new values after every step. Guaranteed: what is outside `flat.inside` stays as it was, bit by bit, whatever
    its gradients are (as there is no weight decay).
    """

    def __init__(self, flat: FlatBuffer, settings: TrainSettings, rate: float) -> None:
        self._flat = flat
        self.values = flat.values()
        self._parts = {part: nn.Parameter(self.values[span]) for part, span in flat.spans.items()}
        groups = [
            {"params": [parameter], "lr": rate * (settings.lr_ratio if part == "B" else 1.0)}
            for part, parameter in self._parts.items()
        ]
        sgd = settings.optimizer == "sgd"
        self._optimizer = torch.optim.SGD(groups) if sgd else torch.optim.AdamW(groups, weight_decay=0.0)

    def step(self, gradient: Tensor) -> None:
        """Move every value by what its gradient says."""
        if self._flat.inside is not None:
            gradient = torch.where(self._flat.inside != 0, gradient, 0)
        for part, parameter in self._parts.items():
            parameter.grad = gradient[self._flat.spans[part]]
        self._optimizer.step()
        self._flat.load(self.values)
