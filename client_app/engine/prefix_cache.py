"""The prefix cache: what the layers below the lowest adapted one make of a text never changes, so it is kept.

The cache must not change a bit of the result, whatever a process has computed before: a text's states are always
computed in the same batch, its group among all texts of its client.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bract.batching import batch_of, by_length
from bract.models.lora_model import LoraModel
from bract.tasks.task import Examples
from client_app.engine.engine import Rows

ENTRY_BUDGET = 64 << 20  # bytes: a client whose texts' states are more than this computes them anew each time
MEMORY_BUDGET = 256 << 20  # bytes that a process keeps; the client that was trained longest ago goes first
GROUP_TOKENS = 1024  # computed together
# Classes of layers that may be cached. By name, as importing transformers' modules for all of them takes seconds.
LAYERS = {
    "BertLayer",
    "RobertaLayer",
    "XLMRobertaLayer",
    "ElectraLayer",
    "TransformerBlock",
    "LlamaDecoderLayer",
    "MistralDecoderLayer",
    "Qwen2DecoderLayer",
    "GPT2Block",
}


class _PrefixDoneError(Exception):
    """The lower layers are done, and the upper ones are not asked for."""


@dataclass
class CacheEntry:
    """One client's states, by row. It holds the examples, so that their id in the process is not given again."""

    examples: Examples
    size: int
    groups: list[Rows]
    group_of: dict[int, int]
    states: dict[int, Tensor] = field(default_factory=dict)


Entries = OrderedDict[tuple[str, int], CacheEntry]  # by kernel and id of the examples; the newest last

_entries: WeakKeyDictionary[LoraModel, Entries] = WeakKeyDictionary()


class PrefixCache:
    """Gives the frozen layers below the lowest adapted one a forward that takes what is cached."""

    def __init__(self, model: LoraModel, kernel: str, *, pad: int) -> None:
        self.layers = frozen_layers(model)
        self._model, self._kernel, self._pad = model, kernel, pad
        self._entries = _entries.setdefault(model, OrderedDict())
        self._cached: Tensor | None = None  # states of the texts that are in the pass
        self._recording: tuple[CacheEntry, Rows] | None = None

    def start(self, examples: Examples, rows: Rows) -> None:
        """Say what the next pass is of."""
        entry = self._entry(examples) if self.layers else None
        if entry is None:
            return
        for group in sorted({entry.group_of[int(row)] for row in rows}):
            if int(entry.groups[group][0]) not in entry.states:
                self._compute(entry, entry.groups[group])
        self._cached = pad_sequence([entry.states[int(row)] for row in rows], batch_first=True)

    def end(self) -> None:
        """What follows is no pass over examples."""
        self._cached = None

    def forward(self, layer: nn.Module, states: Tensor, *more: object, **named: object) -> Tensor:
        """A frozen layer's: its own, or what is cached of the last of them."""
        last = layer is self.layers[-1]
        if self._cached is not None:
            return self._cached if last else states
        output: Tensor = type(layer).forward(layer, states, *more, **named)
        if last and self._recording is not None:
            entry, rows = self._recording
            lengths = [len(entry.examples.tokens[row]) for row in rows]
            texts = zip(rows, lengths, output, strict=True)
            whole = {int(row): state[:length].clone() for row, length, state in texts}
            entry.states.update(whole)  # all of a group, or nothing of it
            raise _PrefixDoneError
        return output

    def _compute(self, entry: CacheEntry, rows: Rows) -> None:
        ids, mask = batch_of([entry.examples.tokens[row] for row in rows], self._pad, self._model.device)
        self._recording = entry, rows
        try:
            with torch.no_grad():
                self._model(ids, mask)
        except _PrefixDoneError:
            pass
        finally:
            self._recording = None

    def _entry(self, examples: Examples) -> CacheEntry | None:
        key = (self._kernel, id(examples))
        if key not in self._entries:
            lengths = [len(ids) for ids in examples.tokens]
            size = sum(lengths) * self._model.width * next(self._model.parameters()).element_size()
            if size > ENTRY_BUDGET:
                return None
            groups = by_length(lengths, max_tokens=GROUP_TOKENS)
            group_of = {int(row): i for i, rows in enumerate(groups) for row in rows}
            self._entries[key] = CacheEntry(examples, size, groups, group_of)
        self._entries.move_to_end(key)
        while len(self._entries) > 1 and sum(entry.size for entry in self._entries.values()) > MEMORY_BUDGET:
            self._entries.popitem(last=False)
        return self._entries[key]


def frozen_layers(model: LoraModel) -> list[nn.Module]:
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
