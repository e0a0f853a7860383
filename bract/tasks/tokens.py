"""Texts as token ids, and token ids through a model."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bract.batching import batch_of, by_length
from bract.errors import BractError
from bract.tasks.task import Tokens

MOST = 4096  # tokens measured together


@lru_cache(maxsize=2)
def tokenizer(place: str) -> Any:
    """The base model's tokenizer; never remote code."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(place, trust_remote_code=False)  # nosec B615 # a table of words, no code
    except (OSError, ValueError) as error:
        raise BractError(f"model.name: {place} has no tokenizer that loads: {error}") from error
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    return found


def tokenise(texts: Sequence[str], place: str, length: int) -> Tokens:
    """Token ids, cut at `length`."""
    if not texts:
        return []
    encoded = tokenizer(place)(list(texts), truncation=True, max_length=length)["input_ids"]
    return [np.array(ids, dtype=np.int32) for ids in encoded]


def pad_id(place: str) -> int:
    """The token that fills short texts; it is masked."""
    return int(tokenizer(place).pad_token_id)


def logits(model: Any, tokens: Tokens) -> NDArray[np.float32]:
    """What the head gives for each text, in the order of the texts, computed in groups of like lengths."""
    import torch

    found = np.zeros((len(tokens), model.shape.outputs), dtype=np.float32)
    pad = pad_id(model.shape.place)
    with torch.no_grad():
        for rows in by_length([len(ids) for ids in tokens], max_tokens=MOST):
            ids, mask = batch_of([tokens[i] for i in rows], pad, model.device)
            found[rows] = model(ids, mask).float().cpu().numpy()
    return found
