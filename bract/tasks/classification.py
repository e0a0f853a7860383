"""Tokenised examples, and measuring a model on them. Both sides measure with this code."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bract.batching import batch_of, by_length
from bract.models.lora_model import Classifier, tokenizer
from bract.tasks.task import Examples, Tokens

MOST = 4096  # tokens measured together


@dataclass(frozen=True)
class Measured:
    """What measuring reports: sums, so that clients' figures add up exactly."""

    examples: int
    correct: int
    loss: float


def examples(texts: Sequence[str], labels: Sequence[str], names: Sequence[str], place: str, length: int) -> Examples:
    """Texts tokenised, labels numbered in the order of `names`."""
    number = {name: i for i, name in enumerate(names)}
    classes = np.array([number[label] for label in labels], dtype=np.int64)
    return Examples(tokenise(texts, place, length), classes)


def tokenise(texts: Sequence[str], place: str, length: int) -> Tokens:
    """Token ids, cut at `length`."""
    if not texts:
        return []
    encoded = _tokenizer(place)(list(texts), truncation=True, max_length=length)["input_ids"]
    return [np.array(ids, dtype=np.int32) for ids in encoded]


def pad_id(place: str) -> int:
    """The token that fills short texts; it is masked."""
    return int(_tokenizer(place).pad_token_id)


@lru_cache(maxsize=2)
def _tokenizer(place: str) -> Any:
    return tokenizer(place)


@torch.no_grad()
def logits(model: Classifier, tokens: Tokens) -> NDArray[np.float32]:
    """Logits in the order of the texts, computed in groups of like lengths."""
    found = np.zeros((len(tokens), model.shape.labels), dtype=np.float32)
    pad = pad_id(model.shape.place)
    for rows in by_length([len(ids) for ids in tokens], max_tokens=MOST):
        ids, mask = batch_of([tokens[i] for i in rows], pad, model.device)
        found[rows] = model(ids, mask).float().cpu().numpy()
    return found


def losses(model: Any, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each text."""
    return functional.cross_entropy(model(ids, mask), targets, reduction="none")


def measure(model: Classifier, held: Examples) -> Measured:
    """How many of the examples the model gets right, and the sum of its losses."""
    found = torch.from_numpy(logits(model, held.tokens))
    labels = torch.from_numpy(held.targets)
    loss = functional.cross_entropy(found.double(), labels, reduction="sum")
    return Measured(len(held), int((found.argmax(-1) == labels).sum()), float(loss))
