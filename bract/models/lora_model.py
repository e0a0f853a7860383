"""The model that is trained, measured and exported: a frozen base, PEFT's LoRA, a head.

This is the only module that builds a torch model; client, server and `bract.load` share it, so
that what was measured is what is exported.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, VeraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.vera import VeraLayer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
)
from transformers.utils import logging as transformers_logging

from bract.adapter import initial
from bract.adapter.layout import Layout, Module, Part, Parts, Vector
from bract.adapter.layout import Tensor as HeadTensor
from bract.batching import batch_of
from bract.choices import HeadInit, Pooling, Variant
from bract.errors import BractError
from bract.models import base_model
from bract.settings.schema import Settings

# The last part of a module's name, by which `lora.targets = attention` finds query and value in
# the architectures of transformers (c_attn holds query, key and value in one layer).
ATTENTION = {"query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "q", "v", "c_attn"}

# PEFT's own choices, made on purpose here: VeRA's frozen matrices come from a key, not from a file.
warnings.filterwarnings("ignore", message="Specified to not save vera_A")
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
# Progress bars and load reports are for a person at a prompt, not for a client's log.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class Shape:
    """What decides the model's architecture: everything two clients must agree on."""

    place: str
    pooling: Pooling
    outputs: int
    rank: int
    alpha: float
    targets: str
    head_init: HeadInit
    seed: int
    length: int
    variant: Variant = "lora"
    auto_class: str = "AutoModelForSequenceClassification"  # of the whole model with the base model's own head


def shape(settings: Settings, outputs: int, auto_class: str) -> Shape:
    """Resolve the `auto`s of the settings against the base model's own files; the head gives `outputs` numbers."""
    place = base_model.locate(settings.model.name)
    own = base_model.sentence_pooling(place)
    pooling = settings.model.pooling
    if pooling == "auto":
        pooling = own or "native"
    head_init = settings.lora.head_init
    if head_init == "auto":
        head_init = "labels" if own and pooling != "native" else "random"
    if head_init == "labels" and pooling == "native":
        raise BractError(
            f"lora.head-init = 'labels' needs a pooled head, and model.name = {settings.model.name!r} is "
            "no sentence encoder: set model.pooling to mean or cls, or lora.head-init to random"
        )
    return Shape(
        place,
        pooling,
        outputs,
        settings.lora.rank,
        settings.lora.alpha,
        settings.lora.targets,
        head_init,
        settings.seed,
        settings.data.max_length,
        settings.lora.variant,
        auto_class,
    )


def build(shape: Shape, *, meta: bool = False) -> "LoraModel":
    """The model, its adapter and head at their first values.

    With `meta`, no weight is read and no memory taken: enough for the layout. The head of
    label names needs the labels' embeddings: see `LoraModel.initial_parts`.
    """
    config = _config(shape)
    native = shape.pooling == "native"
    auto: Any = getattr(transformers, shape.auto_class) if native else AutoModel
    if meta:
        with torch.device("meta"):
            model = auto.from_config(config, trust_remote_code=False)
    else:
        model = _pretrained(shape, config, auto)
    encoder = model.base_model if native else model
    names = {name for name, m in model.named_modules() if _is_linear(m) and _inside(m, encoder)}
    targets = select_targets(shape.targets, names)
    model.requires_grad_(False)
    return LoraModel(get_peft_model(model, _adapter(shape, targets)), shape)


def _adapter(shape: Shape, targets: list[str]) -> LoraConfig | VeraConfig:
    """PEFT's own configuration of the adapter. VeRA's frozen matrices are drawn by PEFT from the seed."""
    if shape.variant == "vera":
        return VeraConfig(
            r=shape.rank,
            target_modules=targets,
            projection_prng_key=shape.seed,
            save_projection=False,
            vera_dropout=0.0,
            d_initial=initial.VERA_START,
            bias="none",
        )
    alpha: Any = shape.alpha  # PEFT writes int and takes any number
    return LoraConfig(
        r=shape.rank,
        lora_alpha=alpha,
        use_rslora=shape.variant == "rslora",
        target_modules=targets,
        lora_dropout=0.0,
        bias="none",
    )


class LoraModel(nn.Module):
    """Token ids in, logits out; its trainable values seen as flat vectors, part by part."""

    def __init__(self, model: PeftModel, shape: Shape) -> None:
        super().__init__()
        self.model = model
        self.shape = shape
        inner: Any = model.get_base_model()
        self.width: int = inner.config.hidden_size
        self.layers: dict[str, Any] = {
            name: module for name, module in inner.named_modules() if isinstance(module, LoraLayer | VeraLayer)
        }
        if shape.pooling == "native":
            inside = {id(p) for p in inner.base_model.parameters()}
            self.head = {n: p for n, p in inner.named_parameters() if id(p) not in inside}
        else:
            device = next(inner.parameters()).device
            self.linear = nn.Linear(self.width, shape.outputs, device=device)
            self.head = {"head.weight": self.linear.weight, "head.bias": self.linear.bias}
        self.requires_grad_(False)
        self.eval()  # dropout off: what is trained is what is measured, and is the same each time

    @property
    def layout(self) -> Layout:
        """The adapter's layout."""
        vera, rank = self.shape.variant == "vera", self.shape.rank
        modules = [
            Module(name, rank if vera else layer.in_features, layer.out_features) for name, layer in self.layers.items()
        ]
        head = [HeadTensor(name, tuple(p.shape)) for name, p in self.head.items()]
        return Layout(tuple(modules), 1 if vera else rank, tuple(head), self.shape.variant)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits, one row a text."""
        if self.shape.pooling == "native":
            logits: Tensor = self.model(input_ids=ids, attention_mask=mask).logits
            return logits
        out: Tensor = self.linear(self.pooled(ids, mask))
        return out

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The pooled encoder output, of length one."""
        states: Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.shape.pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * weights).sum(1) / weights.sum(1).clamp_min(1)
        return nn.functional.normalize(pooled, dim=-1)

    def parameters_of(self, part: Part) -> list[nn.Parameter]:
        """The parameters of a part, in the layout's order."""
        if part == "head":
            return list(self.head.values())
        layers = list(self.layers.values())
        if self.shape.variant == "vera":
            vectors: list[Any] = [layer.vera_lambda_d if part == "A" else layer.vera_lambda_b for layer in layers]
            return [vector["default"] for vector in vectors]
        factors: list[Any] = [layer.lora_A if part == "A" else layer.lora_B for layer in layers]
        return [factor["default"].weight for factor in factors]

    @torch.no_grad()
    def get(self, part: Part) -> Vector:
        """The part's values, as a flat vector in the layout's order."""
        return self.flat(part, self.parameters_of(part))

    @torch.no_grad()
    def flat(self, part: Part, tensors: Sequence[Tensor]) -> Vector:
        """Tensors of the shapes of the part's parameters, as a flat vector in the layout's order."""
        transposed = self.is_transposed(part)
        flat = [(t.T if transposed else t).reshape(-1).float() for t in tensors]
        return np.ascontiguousarray(torch.cat(flat).cpu().numpy())

    @torch.no_grad()
    def set(self, part: Part, vector: Vector, layout: Layout) -> None:
        """Lay the vector's values into the part."""
        matrices, transposed = layout.matrices(part, vector), self.is_transposed(part)
        for parameter, matrix in zip(self.parameters_of(part), matrices, strict=True):
            value = torch.from_numpy(np.ascontiguousarray(matrix))
            parameter.copy_(value.T if transposed else value.reshape(parameter.shape))

    def is_transposed(self, part: Part) -> bool:
        """Whether torch keeps the part the other way round than the layout: LoRA's B, d_out x r."""
        return part == "B" and self.shape.variant != "vera"

    def initial_parts(self, layout: Layout, label_ids: Sequence[Sequence[int]], pad: int) -> Parts:
        """The first values of every part, from the seed; a head of label names from the base model."""
        pooled = self.shape.pooling != "native"
        parts = initial.draw(layout, self.shape.seed, pooled=pooled)
        if self.shape.head_init == "labels":
            rows = initial.SCALE * self._embed(label_ids, pad)
            parts["head"] = np.concatenate([rows.reshape(-1), np.zeros(len(rows), np.float32)])
        return parts

    @torch.no_grad()
    def _embed(self, texts: Sequence[Sequence[int]], pad: int) -> Vector:
        """Embeddings by the base model alone, whatever the adapter holds."""
        with self.model.disable_adapter():
            rows = [self.pooled(*batch_of([ids], pad, self.device)) for ids in texts]
        return np.ascontiguousarray(torch.cat(rows).float().cpu().numpy())


def select_targets(targets: str, names: set[str]) -> list[str]:
    """The full names of the linear layers that `lora.targets` means, among those of the encoder."""
    if targets == "all-linear":
        return sorted(name for name in names if "pooler" not in name.split("."))
    wanted = ATTENTION if targets == "attention" else {t.strip() for t in targets.split(",")}
    selected = {n for n in names if any(n == t or n.endswith(f".{t}") for t in wanted)}
    missing = {t for t in wanted if not any(n == t or n.endswith(f".{t}") for n in selected)}
    if not selected or (targets != "attention" and missing):
        ends = sorted({name.rsplit(".", 1)[-1] for name in names})
        what = "query and value layers" if targets == "attention" else ", ".join(sorted(missing))
        raise BractError(
            f"lora.targets = {targets!r}: the model has no {what}; its linear layers are {', '.join(ends)}"
        )
    return sorted(selected)


def pick_device() -> torch.device:
    """A GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _pretrained(shape: Shape, config: Any, auto: Any) -> Any:
    """The base model with all its weights from its files; only a head may be missing there."""
    native = shape.pooling == "native"
    try:
        model, loaded = auto.from_pretrained(
            shape.place,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=native,  # a stored head of other labels is not wanted
            output_loading_info=True,
        )
    except OSError as error:
        raise BractError(f"model.name: {shape.place} cannot be loaded: {error}") from error
    # What the files lack, transformers draws anew in every process: clients would differ.
    encoder = f"{model.base_model_prefix}." if native else ""
    lacking = sorted(
        name
        for name in loaded["missing_keys"]
        if name.startswith(encoder) and (native or "pooler" not in name.split("."))
    )
    if lacking:
        raise BractError(
            f"model.name: {shape.place} has no weights for {lacking[0]}"
            + (": set model.pooling to mean or cls, which do without" if "pooler" in lacking[0] else "")
        )
    return model


def _config(shape: Shape) -> Any:
    try:
        config = AutoConfig.from_pretrained(shape.place, trust_remote_code=False)  # nosec B615 # weights are hashed
    except (OSError, ValueError) as error:
        raise BractError(f"model.name: {shape.place} cannot be read: {error}") from error
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and shape.length > positions:
        raise BractError(f"data.max-length = {shape.length}: the model has {positions} positions")
    if shape.pooling == "native":
        config.num_labels = shape.outputs
        if config.pad_token_id is None:
            config.pad_token_id = config.eos_token_id
    return config


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _inside(module: nn.Module, encoder: nn.Module) -> bool:
    return any(module is inner for inner in encoder.modules())
