"""The adapter folder: loads with PEFT alone, and with `bract.load`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bract.adapter.layout import Layout, Part, Parts
from bract.files import replacing, write_json, write_text
from bract.models.base_model import public_name
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.tasks.task import Outputs, Task, Usage

HEAD = "head.safetensors"


@dataclass(frozen=True)
class Export:
    """What the folder says beside the numbers."""

    settings: Settings
    layout: Layout
    outputs: Outputs
    pooling: str
    clients: int
    keeps: tuple[Part, ...] = ()  # parts that stay with the clients
    personal: bool = False  # one client's own model, written by that client

    @property
    def task(self) -> Task:
        """What it was trained for."""
        return task_of(self.settings.model.task)

    @property
    def base(self) -> str:
        """The base model's name for others."""
        return public_name(self.settings.model.name)

    def config(self) -> dict[str, Any]:
        """What `PeftModel.from_pretrained` reads; what is not said here is PEFT's default.

        Made of the settings and the layout alone: nothing that another side wrote ends up in it. A
        native head is PEFT's `modules_to_save`, so that PEFT alone loads the whole model.
        """
        native, lora = self.pooling == "native", self.settings.lora
        common = {
            "task_type": self.task.peft_type if native else "FEATURE_EXTRACTION",
            "base_model_name_or_path": self.base,
            "inference_mode": True,
            "r": lora.rank,
            "bias": "none",
            "target_modules": sorted(module.name for module in self.layout.modules),
            "modules_to_save": sorted({t.name.split(".")[0] for t in self.layout.head}) if native else None,
        }
        if self.layout.variant == "vera":  # PEFT draws the frozen matrices again from the key
            vera = {"projection_prng_key": self.settings.seed, "save_projection": False, "vera_dropout": 0.0}
            return {"peft_type": "VERA", **common, **vera}
        rslora = self.layout.variant == "rslora"
        return {"peft_type": "LORA", **common, "lora_alpha": lora.alpha, "lora_dropout": 0.0, "use_rslora": rslora}

    def write(self, folder: Path, parts: Parts, score: float | None) -> None:
        """Write the folder. PEFT finds its own two files; `bract.json` holds the rest."""
        layout = self.layout
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
            "task": self.task.name,
            "base": self.settings.model.name,
            "outputs": self.outputs.size,
            "pooling": self.pooling,
            "labels": list(self.outputs.names),
            "max_length": self.settings.data.max_length,
            "rank": self.settings.lora.rank,
            "alpha": self.settings.lora.alpha,
            "seed": self.settings.seed,
            "layout": layout.to_json(),
        }
        write_json(folder / "bract.json", about)
        write_text(folder / "README.md", self._card(score))

    def _card(self, score: float | None) -> str:
        settings = self.settings
        usage = Usage(json.dumps(self.base), self.pooling, self.outputs, settings.data.max_length)
        figure = "not measured" if score is None else f"{score:.4f}"
        if settings.privacy.unit == "client" and not self.personal:
            figure = "not published: it is computed without noise"
        front = json.dumps({"library_name": "peft", "base_model": self.base, "tags": ["lora", "federated"]})
        return CARD.format(
            front=front,
            strategy=settings.strategy.name,
            clients=self.clients,
            rounds=settings.rounds,
            rank=settings.lora.rank,
            what=self.task.describe(self.outputs),
            figure=figure,
            score=self.task.score.capitalize(),
            variant="" if settings.lora.variant == "lora" else f" ({settings.lora.variant})",
            figure_of="this client's" if self.personal else "the clients'",
            note=self._note(),
            plain=self.task.example(usage),
        )

    def _note(self) -> str:
        """What a reader must know of parts that stay with the clients."""
        stays = " and ".join({"head": "the head"}.get(part, part) for part in self.keeps)
        if self.personal:
            bare = self.settings.privacy.unit != "none" and self.settings.strategy.personal_steps
            more = " It was trained last without noise: no privacy protects what it tells of the data." if bare else ""
            return f"\nOne client's own model: it was written on that client's machine and nowhere else.{more}\n"
        if not stays:
            return ""
        return (
            f"\nWith each client stays: {stays}. What stands here for it is the untrained start; the models whose "
            "accuracy is given are the clients' own, each on its machine, under `personal/` of Bract's home.\n"
        )


def peft_tensors(layout: Layout, parts: Parts) -> dict[str, Any]:
    """The factors under PEFT's names, in PEFT's orientation."""
    named = {}
    if layout.variant == "vera":
        for module, d, b in zip(
            layout.modules, layout.matrices("A", parts["A"]), layout.matrices("B", parts["B"]), strict=True
        ):
            named[f"base_model.model.{module.name}.vera_lambda_d"] = np.ascontiguousarray(d.reshape(-1))
            named[f"base_model.model.{module.name}.vera_lambda_b"] = np.ascontiguousarray(b.reshape(-1))
        return named
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


CARD = """---
{front}
---

# LoRA adapter, trained with Bract

{what} Method `{strategy}`, {clients} clients, {rounds} rounds, rank {rank}{variant}.
{score} on {figure_of} held-out texts: {figure}.
{note}
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
