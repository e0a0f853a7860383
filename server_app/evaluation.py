"""Measuring on the server's own test file: the one place where the server needs torch."""

import numpy as np

from bract.adapter.layout import Layout, Parts
from bract.data.tables import load_test
from bract.models import lora_model
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.tasks.task import Figures, Outputs, summed


class Evaluator:
    """The model and the test file, loaded once."""

    def __init__(self, settings: Settings, outputs: Outputs, layout: Layout) -> None:
        self._task, self._layout = task_of(settings.model.task), layout
        table = load_test(settings.data, self._task, outputs)
        shape = lora_model.shape(settings, outputs.size, self._task.auto_class)
        self._model = lora_model.build(shape).to(lora_model.pick_device())
        rows = np.arange(len(table))
        self._examples = self._task.examples(table, rows, outputs, shape.place, settings.data.max_length)

    def measure(self, parts: Parts) -> Figures:
        """Measure the server's model."""
        for part, vector in parts.items():
            self._model.set(part, vector, self._layout)
        return self._task.figures(summed(self._task.measure(self._model, self._examples)))
