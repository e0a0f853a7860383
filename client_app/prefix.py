"""The layers below the lowest adapted one: what they make of a text never changes, so it is kept."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bract.examples import Examples
from bract.model import Classifier
from client_app.engine import Rows

ROOM = 256 << 20  # bytes that a process keeps, over all clients that it plays; what does not fit is computed again

_Key = tuple[int, int]  # the examples' own name in this process, and a row


@dataclass
class Store:
    """States by text. The examples are held, so that their names are not given to others."""

    states: dict[_Key, Tensor] = field(default_factory=dict)
    held: dict[int, Examples] = field(default_factory=dict)
    bytes: int = 0

    def add(self, examples: Examples, row: int, state: Tensor) -> None:
        """Keep a text's states while there is room."""
        size = state.numel() * state.element_size()
        if self.bytes + size <= ROOM and (id(examples), row) not in self.states:
            self.held[id(examples)] = examples
            self.states[id(examples), row] = state.clone()
            self.bytes += size


class Prefix:
    """Lends the frozen layers below the lowest adapted one a forward that takes what is kept.

    A pass is either all of kept texts, and then these layers compute nothing, or of none, and then it is kept.
    """

    def __init__(self, model: Classifier, store: Store) -> None:
        self.layers = frozen_layers(model)
        self._store = store
        self._given: Tensor | None = None
        self._examples: Examples | None = None
        self._rows: list[int] = []
        self._lengths: list[int] = []

    def split(self, examples: Examples, rows: Rows) -> list[Rows]:
        """Rows that are kept, and the others."""
        if not self.layers:
            return [rows]
        kept = [(id(examples), int(row)) in self._store.states for row in rows]
        return [part for part in (rows[kept], rows[[not k for k in kept]]) if len(part)]

    def start(self, examples: Examples, rows: Rows) -> None:
        """Say what the next pass is of."""
        if not self.layers:
            return
        self._examples, self._rows = examples, [int(row) for row in rows]
        self._lengths = [len(examples.tokens[row]) for row in self._rows]
        found = [self._store.states.get((id(examples), row)) for row in self._rows]
        whole = [state for state in found if state is not None]
        self._given = pad_sequence(whole, batch_first=True) if len(whole) == len(found) else None

    def end(self) -> None:
        """Passes that are not announced (a probe) take and leave nothing."""
        self._examples, self._given = None, None

    def forward(self, layer: nn.Module, states: Tensor, *more: Any, **named: Any) -> Any:
        """A frozen layer's: its own, or what is kept of the last of them."""
        last = layer is self.layers[-1]
        if self._given is not None:
            return self._given if last else states
        with torch.no_grad():
            found = type(layer).forward(layer, states, *more, **named)
        if last and self._examples is not None and isinstance(found, Tensor):
            for row, length, state in zip(self._rows, self._lengths, found, strict=True):
                self._store.add(self._examples, row, state[:length])
        return found


def frozen_layers(model: Classifier) -> list[nn.Module]:
    """The layers below the lowest adapted one, where the adapted ones are all in one stack."""
    adapted = set(model.layers.values())
    for module in model.model.get_base_model().modules():
        if not isinstance(module, nn.ModuleList):
            continue
        has = [bool(adapted & set(layer.modules())) for layer in module]
        inside = {inner for layer in module for inner in layer.modules()}
        if any(has):
            return list(module)[: has.index(True)] if adapted <= inside else []
    return []
