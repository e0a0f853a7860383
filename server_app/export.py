"""The adapter folder: loads with PEFT alone, and with `bract.load`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bract.base import public_name
from bract.files import replacing, write_json, write_text
from bract.layout import Layout, Parts
from bract.settings import Settings
from server_app.join import Joined

HEAD = "head.safetensors"


@dataclass(frozen=True)
class Export:
    """What the folder says beside the numbers."""

    settings: Settings
    joined: Joined

    @property
    def pooling(self) -> str:
        """What the head reads."""
        return str(self.joined.card["pooling"])

    @property
    def base(self) -> str:
        """The base model's name for others."""
        return public_name(self.settings.model.name)

    def config(self) -> dict[str, Any]:
        """What `PeftModel.from_pretrained` reads; what is not said here is PEFT's default.

        Made of the settings and the layout alone: nothing that a client wrote ends up in it. A
        native head is PEFT's `modules_to_save`, so that PEFT alone loads the whole model.
        """
        native, layout = self.pooling == "native", self.joined.layout
        return {
            "peft_type": "LORA",
            "task_type": "SEQ_CLS" if native else "FEATURE_EXTRACTION",
            "base_model_name_or_path": self.base,
            "inference_mode": True,
            "r": layout.rank,
            "lora_alpha": self.settings.lora.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(module.name for module in layout.modules),
            "modules_to_save": sorted({t.name.split(".")[0] for t in layout.head}) if native else None,
        }

    def write(self, folder: Path, parts: Parts, accuracy: float | None) -> None:
        """Write the folder. PEFT finds its own two files; `bract.json` holds the rest."""
        layout = self.joined.layout
        tensors, head = peft_tensors(layout, parts), head_tensors(layout, parts)
        if self.pooling == "native":
            tensors |= {f"base_model.model.{name}": value for name, value in head.items()}
        else:
            with replacing(folder / HEAD) as temporary:
                save_file(head, temporary, metadata={"format": "pt"})
        with replacing(folder / "adapter_model.safetensors") as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
        write_json(folder / "adapter_config.json", self.config())
        about = {
            "base": self.settings.model.name,
            "pooling": self.pooling,
            "labels": list(self.joined.labels),
            "max_length": self.settings.data.max_length,
            "alpha": self.settings.lora.alpha,
            "layout": layout.to_json(),
        }
        write_json(folder / "bract.json", about)
        write_text(folder / "README.md", self._card(accuracy))

    def _card(self, accuracy: float | None) -> str:
        settings, base = self.settings, json.dumps(self.base)  # quoted: it stands in code
        figure = "not measured" if accuracy is None else f"{accuracy:.4f}"
        front = json.dumps({"library_name": "peft", "base_model": self.base, "tags": ["lora", "federated"]})
        return CARD.format(
            front=front,
            strategy=settings.strategy.name,
            clients=len(self.joined.members),
            rounds=settings.rounds,
            rank=settings.lora.rank,
            labels=len(self.joined.labels),
            figure=figure,
            head_note=HEAD_NOTES.get(settings.lora.head, ""),
            plain=(NATIVE if self.pooling == "native" else POOLED).format(
                base=base,
                labels=len(self.joined.labels),
                length=settings.data.max_length,
                pool=POOLS[self.pooling],
            ),
        )


def peft_tensors(layout: Layout, parts: Parts) -> dict[str, Any]:
    """The factors under PEFT's names, in PEFT's orientation."""
    named = {}
    for module, a, b in zip(
        layout.modules, layout.matrices("A", parts["A"]), layout.matrices("B", parts["B"]), strict=True
    ):
        named[f"base_model.model.{module.name}.lora_A.weight"] = np.ascontiguousarray(a)
        named[f"base_model.model.{module.name}.lora_B.weight"] = np.ascontiguousarray(b.T)
    return named


def head_tensors(layout: Layout, parts: Parts) -> dict[str, Any]:
    """The head's tensors by name."""
    if not layout.head:
        return {}
    matrices = layout.matrices("head", parts["head"])
    return {t.name: np.ascontiguousarray(m) for t, m in zip(layout.head, matrices, strict=True)}


HEAD_NOTES = {"local": "\nThe clients' heads stay with them: the head in this folder is the untrained start.\n"}

POOLS = {
    "native": "",
    "mean": "(states * mask).sum(1) / mask.sum(1)",
    "cls": "states[:, 0]",
}

CARD = """---
{front}
---

# LoRA adapter, trained with Bract

A text classifier with {labels} labels. Method `{strategy}`, {clients} clients, {rounds} rounds, rank {rank}.
Accuracy on the clients' held-out texts: {figure}.
{head_note}
With Bract:

```python
import bract

model = bract.load("THIS_FOLDER")
print(model.predict(["a text"]))
```

With transformers and PEFT alone:

```python
{plain}
```
"""

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
