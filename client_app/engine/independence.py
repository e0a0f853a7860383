"""Batch independence: whether a model computes each text by itself; else no clip bounds what one example changes."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from bract.adapter.layout import FACTORS, Parts
from bract.batching import batch_of
from bract.errors import BractError
from bract.models.lora_model import LoraModel

TOLERANCE = 1e-4  # of the states' size: rounding stays far below it

DEPENDENT = (
    "the model's states of a text change with the texts it is computed with, so no clip bounds what one example "
    "changes: it cannot be trained with privacy.unit = 'example' or 'person'"
)
SHARED = (
    "the model uses an adapted layer for more than each example's own states, so it cannot be trained privately with "
    "these lora.targets"
)

_known: WeakKeyDictionary[LoraModel, str] = WeakKeyDictionary()  # what is wrong with a model; empty: nothing


def synthetic_batch(lengths: list[int], pad: int, model: LoraModel) -> tuple[Tensor, Tensor]:
    """Texts of these lengths that nobody wrote, of any of the model's tokens."""
    config: Any = model.model.get_base_model().config
    tokens = [token for token in range(1, min(64, int(config.vocab_size))) if token != pad] or [0]
    texts = [[tokens[i % len(tokens)] for i in range(length)] for length in lengths]
    end = getattr(config, "eos_token_id", None)
    for text in texts:
        if isinstance(end, int) and end < config.vocab_size:  # where a text is to end by a token of its own
            text[:] = [token if token != end else tokens[0] for token in text[:-1]] + [end]
    return batch_of(texts, pad, model.device)


def require_independent(model: LoraModel, *, pad: int) -> None:
    """Raise if the model does not compute each text by itself.

    Convolutions and averages that see padding compute a text otherwise beside a longer one, and DeBERTa's layers
    also see relative positions, which belong to no text. Found by texts that nobody wrote, once for a model and from
    its own weights, without an adapter that a server sent; before anything is trained or spent. The engines look
    again at every pass.
    """
    if model not in _known:
        received: Parts = {factor: model.get(factor) for factor in FACTORS}
        try:
            for factor, values in received.items():
                model.set(factor, np.zeros_like(values), model.layout)
            _known[model] = _fault(model, pad)
        finally:
            for factor, values in received.items():
                model.set(factor, values, model.layout)
    if _known[model]:
        raise BractError(_known[model])


@torch.no_grad()
def _fault(model: LoraModel, pad: int) -> str:
    short, long = max(2, min(6, model.shape.length // 2)), min(17, model.shape.length)
    base: Any = model.model.get_base_model().base_model
    alone = _states(base, *synthetic_batch([short], pad, model))[0]
    calls: list[tuple[Any, int]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: calls.append((layer, len(inputs[0]))))
        for layer in model.layers.values()
    ]
    try:
        batched = _states(base, *synthetic_batch([short, long], pad, model))[0, :short]
    finally:
        for hook in hooks:
            hook.remove()
    if len({layer for layer, _ in calls}) < len(calls) or any(rows != 2 for _, rows in calls):
        return SHARED
    return "" if (alone - batched).abs().max() <= TOLERANCE * alone.abs().max().clamp_min(1e-6) else DEPENDENT


def _states(base: Any, ids: Tensor, mask: Tensor) -> Tensor:
    states: Tensor = base(input_ids=ids, attention_mask=mask).last_hidden_state
    return states
