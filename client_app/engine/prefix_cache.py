"""The layers below the lowest adapted one: what they make of a text never changes, so it is kept.

What is kept must not change a bit of the result, whatever a process has played before: a text's states are always
computed in the same company, its group among all texts of its client.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bract.batching import by_length
from bract.models.lora_model import Classifier, batch_of
from bract.tasks.task import Examples
from client_app.engine.engine import Rows

SHELF = 64 << 20  # bytes: a client whose texts' states are more than this computes them anew each time
ROOM = 256 << 20  # bytes that a process keeps; the client that was played longest ago goes first
# By name, as importing transformers' modules for all of them takes seconds.
LAYERS = {
    "BertLayer", "RobertaLayer", "XLMRobertaLayer", "ElectraLayer", "TransformerBlock", "LlamaDecoderLayer",
    "MistralDecoderLayer", "Qwen2DecoderLayer", "GPT2Block",
}  # fmt: skip
GROUP = 1024  # tokens computed together


class _EnoughError(Exception):
    """The lower layers are done, and the upper ones are not asked for."""


@dataclass
class Shelf:
    """One client's states, by row. It holds the examples, so that their name in the process is not given again."""

    examples: Examples
    size: int
    groups: list[Rows]
    group_of: dict[int, int]
    states: dict[int, Tensor] = field(default_factory=dict)


_shelves: WeakKeyDictionary[Classifier, "OrderedDict[tuple[str, int], Shelf]"] = WeakKeyDictionary()


class Prefix:
    """Lends the frozen layers below the lowest adapted one a forward that takes what is kept."""

    def __init__(self, model: Classifier, kernel: str, *, pad: int) -> None:
        self.layers = frozen_layers(model)
        self._model, self._kernel, self._pad = model, kernel, pad
        self._shelves = _shelves.setdefault(model, OrderedDict())
        self._given: Tensor | None = None
        self._record: tuple[Shelf, Rows] | None = None

    def start(self, examples: Examples, rows: Rows) -> None:
        """Say what the next pass is of."""
        shelf = self._shelf(examples) if self.layers else None
        if shelf is None:
            return
        for group in sorted({shelf.group_of[int(row)] for row in rows}):
            if int(shelf.groups[group][0]) not in shelf.states:
                self._compute(shelf, shelf.groups[group])
        self._given = pad_sequence([shelf.states[int(row)] for row in rows], batch_first=True)

    def end(self) -> None:
        """What follows is no pass over examples."""
        self._given = None

    def forward(self, layer: nn.Module, states: Tensor, *more: Any, **named: Any) -> Any:
        """A frozen layer's: its own, or what is kept of the last of them."""
        last = layer is self.layers[-1]
        if self._given is not None:
            return self._given if last else states
        found = type(layer).forward(layer, states, *more, **named)
        if last and self._record is not None:
            shelf, rows = self._record
            lengths = [len(shelf.examples.tokens[row]) for row in rows]
            pieces = zip(rows, lengths, found, strict=True)
            whole = {int(row): state[:length].clone() for row, length, state in pieces}
            shelf.states.update(whole)  # all of a group, or nothing of it
            raise _EnoughError
        return found

    def _compute(self, shelf: Shelf, rows: Rows) -> None:
        ids, mask = batch_of([shelf.examples.tokens[row] for row in rows], self._pad, self._model.device)
        self._record = shelf, rows
        try:
            with torch.no_grad():
                self._model(ids, mask)
        except _EnoughError:
            pass
        finally:
            self._record = None

    def _shelf(self, examples: Examples) -> Shelf | None:
        name = (self._kernel, id(examples))
        if name not in self._shelves:
            lengths = [len(ids) for ids in examples.tokens]
            size = sum(lengths) * self._model.width * next(self._model.parameters()).element_size()
            if size > SHELF:
                return None
            groups = by_length(lengths, most=GROUP)
            group_of = {int(row): i for i, rows in enumerate(groups) for row in rows}
            self._shelves[name] = Shelf(examples, size, groups, group_of)
        self._shelves.move_to_end(name)
        while len(self._shelves) > 1 and sum(shelf.size for shelf in self._shelves.values()) > ROOM:
            self._shelves.popitem(last=False)
        return self._shelves[name]


def frozen_layers(model: Classifier) -> list[nn.Module]:
    """The layers below the lowest adapted one, where all are of one stack and of kinds that are known.

    Known: each runs once, after the one before it, takes states and gives states.
    """
    adapted = set(model.layers.values())
    for module in model.model.get_base_model().modules():
        if not isinstance(module, nn.ModuleList) or not all(type(layer).__name__ in LAYERS for layer in module):
            continue
        has = [bool(adapted & set(layer.modules())) for layer in module]
        inside = {inner for layer in module for inner in layer.modules()}
        if any(has):
            return list(module)[: has.index(True)] if adapted <= inside else []
    return []
