"""The seam at which tasks differ. Engines know batches and the losses of examples, and no task.

A task says which columns it needs, how rows become examples, what the head gives, the loss of each example, what is
measured and how measurements add up over clients, and how a finished adapter is described and used. A new one is one
file beside this, and its line in `bract/settings/tasks.py`. torch is imported in the functions that need it: the server
knows tasks, too, and does without.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bract.settings.schema import DataSettings

Rows = NDArray[np.int64]
Tokens = Sequence[NDArray[np.int32]]

# (model, token ids, mask, targets) -> the loss of each example. All but the model are torch tensors.
Losses = Callable[[Any, Any, Any, Any], Any]

Sums = dict[str, float]  # what measuring adds up, `examples` among it: so clients' figures add up exactly
Figures = dict[str, float]  # what is made of sums, and shown


@dataclass(frozen=True)
class Table:
    """Rows of a task's columns, in file order."""

    columns: Mapping[str, tuple[str, ...]]  # by the task's names of them
    classes: tuple[str, ...] = ()  # by which a simulation may split the rows; none where the task has none
    group: tuple[str, ...] = ()  # the natural client column, where one was asked for
    users: tuple[str, ...] = ()  # whose a row is, where that was asked for; empty: it is nobody else's

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def persons(self) -> Rows | None:
        """Whose each row is, numbered in the order in which they come; None where that was not asked for."""
        if not self.users:
            return None
        numbers: dict[str, int] = {}
        whose = [numbers.setdefault(user or f"\0{row}", len(numbers)) for row, user in enumerate(self.users)]
        return np.array(whose, dtype=np.int64)

    def take(self, column: str, rows: Rows) -> list[str]:
        """Some rows of a column."""
        whole = self.columns[column]
        return [whole[i] for i in rows]


@dataclass(frozen=True)
class Outputs:
    """What the head gives: so many numbers, and what they are called where they have names."""

    size: int
    names: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()  # each in words, of which a head can be made

    @property
    def digest(self) -> str:
        """Of the descriptions, to compare without sending them."""
        return hashlib.sha256(json.dumps(list(self.descriptions)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Examples:
    """Tokenised examples, and what the model is to give for each: a row of `targets` an example."""

    tokens: Tokens
    targets: NDArray[Any]
    persons: Rows | None = None  # whose each is: numbered from 0; None: nobody asked

    def __len__(self) -> int:
        return len(self.tokens)

    def only(self, rows: Rows) -> "Examples":
        """Some of them."""
        persons = None if self.persons is None else self.persons[rows]
        return Examples([self.tokens[i] for i in rows], self.targets[rows], persons)

    @property
    def whose(self) -> Rows:
        """Whose each is; where nobody asked, each is somebody else's."""
        return np.arange(len(self)) if self.persons is None else self.persons


@dataclass(frozen=True)
class Bound:
    """What one sum may be, for so many examples: a client's word is not believed beyond it.

    Where sums leave with noise, an example counts with `clip` at most: the less it is, the less noise hides it.
    """

    most: float  # for each example
    clip: float = 1.0
    whole: bool = False


Measured = dict[str, NDArray[np.float64]]  # of each example that was measured: what `Task.sums` names


def summed(measured: Measured) -> Sums:
    """What measurements of examples add up to."""
    counted = len(next(iter(measured.values())))
    return {"examples": counted, **{name: math.fsum(values) for name, values in measured.items()}}


@dataclass(frozen=True)
class Usage:
    """What a description of a finished adapter says of how to use it."""

    base: str  # the base model's public name, quoted: it stands in code
    pooling: str
    outputs: Outputs
    length: int


class Task(Protocol):
    """What a model is trained for."""

    @property
    def name(self) -> str:
        """As `model.task` has it."""

    @property
    def score(self) -> str:
        """The figure by which a run is judged: one of `figures`."""

    @property
    def higher(self) -> bool:
        """Whether more of it is better."""

    @property
    def sums(self) -> Mapping[str, Bound]:
        """What `measure` gives of each example."""

    @property
    def auto_class(self) -> str:
        """Of transformers: the whole model with the base model's own head."""

    @property
    def peft_type(self) -> str:
        """PEFT's name of the task."""

    def columns(self, data: DataSettings) -> Mapping[str, str]:
        """The columns that it needs: by its own name of each, the file's. `data.NAME` is the setting."""

    @property
    def classes(self) -> str:
        """The column by which a simulation may split the rows; none where there is none."""

    def usable(self, columns: Mapping[str, Sequence[str]]) -> list[int]:
        """The rows that have all that it needs."""

    def declared(self, data: DataSettings) -> Outputs | None:
        """What the head is to give by the settings alone; None where they do not say."""

    def outputs(self, data: DataSettings, table: Table, described: Mapping[str, str]) -> Outputs:
        """What the head is to give; `described` are the source's own words for names."""

    def known(self, table: Table, outputs: Outputs) -> Rows:
        """The rows that ask for what the head gives."""

    def examples(self, table: Table, rows: Rows, outputs: Outputs, place: str, length: int) -> Examples:
        """Rows tokenised by the tokenizer of the model at `place`, cut at `length`."""

    def losses(self, model: Any, ids: Any, mask: Any, targets: Any) -> Any:
        """The loss of each example, a tensor of as many."""

    def measure(self, model: Any, held: Examples) -> Measured:
        """Of each example that was held out, by itself: none of its values depends on another example."""

    def figures(self, sums: Mapping[str, float]) -> Figures:
        """What sums of one or many clients come to; never asked where there are no examples."""

    def answers(self, logits: NDArray[np.float32], outputs: Outputs) -> list[Any]:
        """What a finished model answers, from a row of numbers for each text."""

    def describe(self, outputs: Outputs) -> str:
        """What a finished adapter is, in a sentence."""

    def example(self, usage: Usage) -> str:
        """Code that uses a finished adapter with transformers and PEFT alone."""
