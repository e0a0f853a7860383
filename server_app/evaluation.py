"""Measuring on the server's own test file: the one place where the server needs torch."""

from collections.abc import Sequence

import bract.model
from bract.data import load_test
from bract.examples import Measured, examples, measure
from bract.layout import Layout, Parts
from bract.settings import Settings


class Evaluator:
    """The model and the test file, loaded once."""

    def __init__(self, settings: Settings, labels: Sequence[str], layout: Layout) -> None:
        table = load_test(settings.data, labels)
        shape = bract.model.shape(settings, len(labels))
        self._layout = layout
        self._model = bract.model.build(shape).to(bract.model.pick_device())
        self._examples = examples(table.texts, table.labels, labels, shape.place, settings.data.max_length)

    def measure(self, parts: Parts) -> Measured:
        """Measure the server's model."""
        for part, vector in parts.items():
            self._model.set(part, vector, self._layout)
        return measure(self._model, self._examples)
