"""Measuring on the server's own test file: the one place where the server needs torch."""

from collections.abc import Sequence

from bract.adapter.layout import Layout, Parts
from bract.data.tables import load_test
from bract.models import lora_model
from bract.settings.schema import Settings
from bract.tasks.classification import Measured, examples, measure


class Evaluator:
    """The model and the test file, loaded once."""

    def __init__(self, settings: Settings, labels: Sequence[str], layout: Layout) -> None:
        table = load_test(settings.data, labels)
        shape = lora_model.shape(settings, len(labels))
        self._layout = layout
        self._model = lora_model.build(shape).to(lora_model.pick_device())
        self._examples = examples(table.texts, table.labels, labels, shape.place, settings.data.max_length)

    def measure(self, parts: Parts) -> Measured:
        """Measure the server's model."""
        for part, vector in parts.items():
            self._model.set(part, vector, self._layout)
        return measure(self._model, self._examples)
