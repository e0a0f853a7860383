"""Text classification: one text, one of several labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bract.errors import BractError
from bract.settings.schema import DataSettings
from bract.tasks.labels import described_by, in_words, read_labels
from bract.tasks.task import Bound, Examples, Figures, Measured, Outputs, Rows, Table, Usage
from bract.tasks.tokens import logits, tokenise

# Label names leave the device: a column that was named by mistake, of texts or of ids, must not.
MOST_LABELS, LONGEST_LABEL = 1000, 200
LONGEST_LOSS = 5.0  # of a text, where losses leave with noise: that of a guess among 148 labels


@dataclass(frozen=True)
class Classification:
    """A `Task`: the head has a row for each label."""

    name: str = "classify"
    score: str = "accuracy"
    higher: bool = True
    auto_class: str = "AutoModelForSequenceClassification"
    peft_type: str = "SEQ_CLS"
    classes: str = "label"

    @property
    def sums(self) -> Mapping[str, Bound]:
        """Texts that it has right, and their losses."""
        return {"correct": Bound(1, whole=True), "loss": Bound(1e6, clip=LONGEST_LOSS)}

    def columns(self, data: DataSettings) -> Mapping[str, str]:
        """A text and its label."""
        return {"text": data.text, "label": data.label}

    def usable(self, columns: Mapping[str, Sequence[str]]) -> list[int]:
        """The rows that have both."""
        return [i for i, pair in enumerate(zip(columns["text"], columns["label"], strict=True)) if all(pair)]

    def declared(self, data: DataSettings) -> Outputs | None:
        """The classes of `data.labels`, in its order."""
        if not data.labels:
            return None
        names, descriptions = read_labels(data.labels)
        return Outputs(len(names), names, descriptions)

    def outputs(self, data: DataSettings, table: Table, described: Mapping[str, str]) -> Outputs:
        """The classes that are declared, else those of the data, sorted."""
        found = set(table.columns["label"])
        if (declared := self.declared(data)) is not None:
            unknown = sorted(found - set(declared.names))
            if unknown:
                raise BractError(f"data.labels: it lacks labels that the data has: {', '.join(unknown[:5])}")
            return declared
        names = tuple(sorted(found))
        if len(names) > max(2, min(MOST_LABELS, len(table) // 3)) or max(map(len, names)) > LONGEST_LABEL:
            raise BractError(
                f"data.label = {data.label!r}: {len(names)} different values in {len(table)} rows, the longest of "
                f"{max(map(len, names))} characters, look like no labels; if they are, list them in data.labels"
            )
        words = tuple(described_by(name, described[name]) if name in described else in_words(name) for name in names)
        return Outputs(len(names), names, words)

    def known(self, table: Table, outputs: Outputs) -> Rows:
        """Rows whose label is one of the head's."""
        names = set(outputs.names)
        return np.flatnonzero([label in names for label in table.columns["label"]]).astype(np.int64)

    def examples(self, table: Table, rows: Rows, outputs: Outputs, place: str, length: int) -> Examples:
        """Labels numbered in the order of the head's rows."""
        number = {name: i for i, name in enumerate(outputs.names)}
        classes = np.array([number[label] for label in table.take("label", rows)], dtype=np.int64)
        return Examples(tokenise(table.take("text", rows), place, length), classes)

    def losses(self, model: Any, ids: Any, mask: Any, targets: Any) -> Any:
        """The cross-entropy of each text."""
        from torch.nn import functional

        return functional.cross_entropy(model(ids, mask), targets, reduction="none")

    def measure(self, model: Any, held: Examples) -> Measured:
        """Whether the model gets each text right, and its loss."""
        import torch
        from torch.nn import functional

        found, labels = torch.from_numpy(logits(model, held.tokens)), torch.from_numpy(held.targets)
        loss = functional.cross_entropy(found.double(), labels, reduction="none")
        return {"correct": (found.argmax(-1) == labels).double().numpy(), "loss": loss.numpy()}

    def figures(self, sums: Mapping[str, float]) -> Figures:
        """The share that is right, and the mean loss."""
        return {"accuracy": sums["correct"] / sums["examples"], "loss": sums["loss"] / sums["examples"]}

    def answers(self, logits: NDArray[np.float32], outputs: Outputs) -> list[Any]:
        """The likeliest label of each text."""
        return [outputs.names[i] for i in logits.argmax(-1)]

    def describe(self, outputs: Outputs) -> str:
        """How many labels it has."""
        return f"A text classifier with {outputs.size} labels."

    def example(self, usage: Usage) -> str:
        """By the whole model where it has a head of its own, else by the pooled encoder and the head beside it."""
        return (NATIVE if usage.pooling == "native" else POOLED).format(
            base=usage.base, labels=usage.outputs.size, length=usage.length, pool=POOLS[usage.pooling]
        )


CLASSIFICATION = Classification()

POOLS = {
    "native": "",
    "mean": "(states * mask).sum(1) / mask.sum(1)",
    "cls": "states[:, 0]",
}


NATIVE = """import json
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "THIS_FOLDER"
base = AutoModelForSequenceClassification.from_pretrained(
    {base}, num_labels={labels}, ignore_mismatched_sizes=True
)
model = PeftModel.from_pretrained(base, folder).eval()
tokenizer = AutoTokenizer.from_pretrained({base})
batch = tokenizer(["a text"], truncation=True, max_length={length}, padding=True, return_tensors="pt")
with torch.no_grad():
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
labels = json.load(open(folder + "/bract.json"))["labels"]
print([labels[i] for i in logits.argmax(-1)])"""

POOLED = """import json
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "THIS_FOLDER"
model = PeftModel.from_pretrained(AutoModel.from_pretrained({base}), folder).eval()
tokenizer = AutoTokenizer.from_pretrained({base})
head = load_file(folder + "/head.safetensors")
batch = tokenizer(["a text"], truncation=True, max_length={length}, padding=True, return_tensors="pt")
with torch.no_grad():
    states = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    pooled = torch.nn.functional.normalize({pool}, dim=-1)
    logits = pooled @ head["head.weight"].T + head["head.bias"]
labels = json.load(open(folder + "/bract.json"))["labels"]
print([labels[i] for i in logits.argmax(-1)])"""
