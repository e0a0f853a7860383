"""What a client does beyond training the parts that its plan names: the seam between methods and clients.

A plan carries directives. A directive is a frozen dataclass in a file of its own: its fields travel, its hooks run on
the client. A client calls the hooks of all directives of a plan in this order, and knows no directive by name:

    check       is it possible, and is it what the plan can ask for?      when a plan is read
    carried     which slots the client still has                          before the model is loaded
    steps       optimizer steps that it takes before training             when the budget is asked
    select      which slots train and travel; may train for its steps     before training
    shaping     a term that is added to a step's gradient, not a probe's  after clip and noise, before the optimizer
    finish      which slots are left, what is remembered                  once, after training
    afterwards  steps of a last phase of which nothing leaves             after the last round

A new one is a file here and a line in `registry.py`. A client refuses a name that it does not know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part, Parts
from bract.settings.schema import TrainSettings

Slots = NDArray[np.int64]
Notes = Mapping[str, str]  # what a directive remembers on the client's disk, beside the parts that stay there
# Given values and gradient of a step, as one flat buffer each, it adds its term to the gradient.
Shape = Callable[[Any, Any], None]
# Given where a part's slots lie in the flat buffer, it gives the shape.
Shaping = Callable[[Callable[[Part, Slots], Any]], Shape]


@dataclass(frozen=True)
class Scope:
    """What the plan says beside its directives, as far as they must fit it."""

    trains: tuple[Part, ...]
    slots: tuple[int, ...] | None  # those that the client carries; None: all
    count: int  # how many these are


@dataclass(frozen=True)
class Probed:
    """What training for a while made of a part, and its mean gradient."""

    after: Parts
    gradients: Parts


class Probe(Protocol):
    """Trains the plan's parts for the steps that the directive said, unmasked, from where they are.

    Under privacy a second call is beyond what was charged, and refused.
    """

    def __call__(self, *, gradients: bool) -> Probed:
        """Train, and say what came of it; `gradients`: with the mean over the steps."""


@dataclass(frozen=True)
class Selection:
    """The slots that train and travel (None: all that the client carries), and where parts start from."""

    slots: Slots | None
    start: Parts = field(default_factory=dict)


@dataclass(frozen=True)
class Finish:
    """The slots that are left, and what the client is to remember of it."""

    slots: Slots | None
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class Directive:
    """One thing that a client does beyond training the parts that the plan names. Every hook has a neutral default.

    `reads` says what its choices are made from: `values` that are released or noised already, `noisy` gradients that
    the mechanism counts, or the `data` itself. A client that protects its own data refuses `data`, unless nothing that
    comes of it leaves (`afterwards`).
    """

    name: ClassVar[str]
    reads: ClassVar[Literal["values", "noisy", "data"]] = "values"
    decides_slots: ClassVar[bool] = False  # at most one directive of a plan does
    remembers: ClassVar[str] = ""  # what it keeps on the client's disk, in words
    steps_called: ClassVar[str] = "steps"  # what an estimate calls those before training
    measures: ClassVar[bool] = False  # it also counts where the model is measured and not trained

    def check(self, scope: Scope) -> None:
        """Raise BractError if the plan cannot ask for this."""

    def carried(self, layout: Layout, slots: Slots | None, notes: Notes) -> Slots | None:
        """The slots that the client has, of those that the server believes it has."""
        return slots

    def steps(self, train: TrainSettings, epoch: int) -> int:
        """Optimizer steps before training; `epoch` is how many make a pass over the client's examples."""
        return 0

    @property
    def within(self) -> bool:
        """Whether these steps are the first of the round's own, or come on top."""
        return False

    def select(self, layout: Layout, scope: Scope, before: Parts, slots: Slots | None, probe: Probe) -> Selection:
        """Which slots train and travel."""
        return Selection(slots)

    def shaping(self, layout: Layout, slots: Slots | None) -> Shaping | None:
        """A term of the gradient in every step of training, of the values alone; a probe's steps have none."""
        return None

    def finish(self, layout: Layout, slots: Slots | None, before: Parts, after: Parts) -> Finish:
        """What is left once training is done."""
        return Finish(slots)

    def afterwards(self) -> int:
        """Steps of what stays with the client, once nothing leaves it any more."""
        return 0

    def sent(self, layout: Layout, carried: Slots | None, got: Slots | None) -> bool:
        """Whether a reply may carry these slots: the server's side of `select` and `finish`."""
        if got is None or carried is None:
            return got is carried
        return np.array_equal(got, carried)

    def expects(self) -> tuple[str, int | None]:
        """For an estimate: how sure the slots that are sent are (`about`, `at most`), and how many, if it says so."""
        return "", None
