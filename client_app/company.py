"""Whether a text's states depend on what it is computed with: then no clip bounds what one example changes."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from bract.errors import BractError
from bract.model import Classifier, batch_of

NEAR = 1e-4  # of the states' size: rounding stays far below it

_known: WeakKeyDictionary[Classifier, bool] = WeakKeyDictionary()


def probe(lengths: list[int], pad: int, model: Classifier) -> tuple[Tensor, Tensor]:
    """Texts of these lengths that nobody wrote, of any of the model's tokens."""
    config: Any = model.model.get_base_model().config
    tokens = [token for token in range(1, min(64, int(config.vocab_size))) if token != pad] or [0]
    texts = [[tokens[i % len(tokens)] for i in range(length)] for length in lengths]
    end = getattr(config, "eos_token_id", None)
    for text in texts:
        if isinstance(end, int) and end < config.vocab_size:  # where a text is to end by a token of its own
            text[:] = [token if token != end else tokens[0] for token in text[:-1]] + [end]
    return batch_of(texts, pad, model.device)


def require_apart(model: Classifier, *, pad: int) -> None:
    """Raise if the model computes a text otherwise beside a longer one: convolutions and averages that see padding do.

    Found by texts that nobody wrote, once for a model, and before anything is trained.
    """
    if model not in _known:
        _known[model] = _apart(model, pad)
    if not _known[model]:
        raise BractError(
            "the model's states of a text change with the texts it is computed with, so no clip bounds what one "
            "example changes: it cannot be trained with privacy.unit = 'example'"
        )


@torch.no_grad()
def _apart(model: Classifier, pad: int) -> bool:
    short, long = max(2, min(6, model.shape.length // 2)), min(17, model.shape.length)
    base: Any = model.model.get_base_model().base_model
    alone = _states(base, *probe([short], pad, model))[0]
    beside = _states(base, *probe([short, long], pad, model))[0, :short]
    return bool((alone - beside).abs().max() <= NEAR * alone.abs().max().clamp_min(1e-6))


def _states(base: Any, ids: Tensor, mask: Tensor) -> Tensor:
    found: Tensor = base(input_ids=ids, attention_mask=mask).last_hidden_state
    return found
