"""A task: a number for each text, by a linear head; judged by the mean distance from the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bract.errors import BractError
from bract.settings.schema import DataSettings
from bract.tasks.task import Bound, Examples, Figures, Measured, Outputs, Rows, Table, Usage
from bract.tasks.tokens import logits, tokenise


@dataclass(frozen=True)
class Regression:
    """A `Task`: the head has one row."""

    name: str = "regress"
    score: str = "distance"
    higher: bool = False
    auto_class: str = "AutoModelForSequenceClassification"
    peft_type: str = "SEQ_CLS"
    classes: str = ""

    @property
    def sums(self) -> Mapping[str, Bound]:
        """Distances, and their squares."""
        return {"distance": Bound(1e6), "loss": Bound(1e12)}

    def columns(self, data: DataSettings) -> Mapping[str, str]:
        """A text and its number."""
        return {"text": data.text, "label": data.label}

    def usable(self, columns: Mapping[str, Sequence[str]]) -> list[int]:
        """The rows that have both."""
        return [i for i, text in enumerate(columns["text"]) if text and columns["label"][i]]

    def declared(self, data: DataSettings) -> Outputs:
        """One number."""
        return Outputs(1)

    def outputs(self, data: DataSettings, table: Table, described: Mapping[str, str]) -> Outputs:
        """The same whatever the data are."""
        return self.declared(data)

    def known(self, table: Table, outputs: Outputs) -> Rows:
        """Those that are finite numbers."""
        return np.array([i for i, cell in enumerate(table.columns["label"]) if _is_number(cell)], dtype=np.int64)

    def examples(self, table: Table, rows: Rows, outputs: Outputs, place: str, length: int) -> Examples:
        """Numbers as they are."""
        try:
            numbers = np.array([float(cell) for cell in table.take("label", rows)], dtype=np.float32)
        except ValueError:  # whose words would have the cell in them, and errors leave the client
            raise BractError("data.label: the column holds something that is no number") from None
        return Examples(tokenise(table.take("text", rows), place, length), numbers)

    def losses(self, model: Any, ids: Any, mask: Any, targets: Any) -> Any:
        """The squared distance of each text."""
        return (model(ids, mask)[:, 0] - targets).square()

    def measure(self, model: Any, held: Examples) -> Measured:
        """How far each is off."""
        off = np.abs(logits(model, held.tokens)[:, 0].astype(np.float64) - held.targets)
        return {"distance": off, "loss": np.square(off)}

    def figures(self, sums: Mapping[str, float]) -> Figures:
        """Means."""
        return {name: sums[name] / sums["examples"] for name in ("distance", "loss")}

    def answers(self, logits: NDArray[np.float32], outputs: Outputs) -> list[Any]:
        """The number of each text."""
        return [float(row[0]) for row in logits]

    def describe(self, outputs: Outputs) -> str:
        """What it is."""
        return "It gives a number for a text."

    def example(self, usage: Usage) -> str:
        """Left to the reader."""
        return f"# with {usage.base}, as for any model of transformers with one output"


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(np.float32(float(cell))))
    except ValueError:
        return False


REGRESSION = Regression()
