"""Using what a run exported."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from bract.adapter.layout import Layout, Parts
from bract.errors import BractError
from bract.models import base_model
from bract.models.lora_model import LoraModel, Shape, build, pick_device
from bract.tasks.registry import task_of
from bract.tasks.task import Outputs, Task
from bract.tasks.tokens import logits, tokenise


@dataclass(frozen=True)
class Predictor:
    """A finished model, of any task."""

    model: LoraModel
    task: Task
    outputs: Outputs
    max_length: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what the head gives, where they have names."""
        return self.outputs.names

    @staticmethod
    def load(folder: str | Path) -> "Predictor":
        """Read an exported adapter; the base model is found by the name that the run was given."""
        place = Path(folder)
        try:
            about = json.loads((place / "bract.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BractError(f"{place} is no adapter that Bract exported: {error}") from error
        missing = {"base", "pooling", "labels", "max_length", "alpha", "rank", "seed", "layout"} - set(about)
        if missing:
            raise BractError(f"{place / 'bract.json'} lacks {', '.join(sorted(missing))}")
        layout = Layout.from_json(about["layout"])
        task, names = task_of(about.get("task", "classify")), tuple(about["labels"])
        outputs = Outputs(int(about.get("outputs", len(names))), names)
        shape = Shape(
            base_model.locate(about["base"]),
            about["pooling"],
            outputs.size,
            int(about["rank"]),
            about["alpha"],
            ",".join(m.name for m in layout.modules),
            "random",
            int(about["seed"]),
            int(about["max_length"]),
            layout.variant,
            task.auto_class,
        )
        model = build(shape).to(pick_device())
        if model.layout != layout:
            raise BractError(f"{place} was trained for another base model than {about['base']}")
        for part, vector in _parts(place, layout).items():
            model.set(part, vector, layout)
        return Predictor(model, task, outputs, int(about["max_length"]))

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row a text, one column a label."""
        return logits(self.model, tokenise(texts, self.model.shape.place, self.max_length))

    def predict(self, texts: Sequence[str]) -> list[Any]:
        """What the model answers to each text: of a classifier, the likeliest label."""
        return self.task.answers(self.logits(texts), self.outputs)


def _parts(folder: Path, layout: Layout) -> Parts:
    """The factors and the head as flat vectors, from the files that PEFT reads."""
    named = load_file(folder / "adapter_model.safetensors")
    prefix = "base_model.model."
    pooled = folder / "head.safetensors"
    head = load_file(pooled) if pooled.is_file() else {k.removeprefix(prefix): v for k, v in named.items()}
    if layout.variant == "vera":
        a = [named[f"{prefix}{m.name}.vera_lambda_d"] for m in layout.modules]
        b = [named[f"{prefix}{m.name}.vera_lambda_b"] for m in layout.modules]
    else:
        a = [named[f"{prefix}{m.name}.lora_A.weight"] for m in layout.modules]
        b = [named[f"{prefix}{m.name}.lora_B.weight"].T for m in layout.modules]
    vectors = {"A": a, "B": b, "head": [head[t.name] for t in layout.head]}
    return {
        part: np.concatenate([value.reshape(-1) for value in values]).astype(np.float32)  # type: ignore[misc]  # text keys
        for part, values in vectors.items()
    }
