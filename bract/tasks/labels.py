"""Names of labels: in words, with descriptions, and as a setting or a file lists them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bract.errors import BractError


def in_words(name: str) -> str:
    """A label's name as text: `card_arrival` becomes `card arrival`."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def described_by(name: str, description: str) -> str:
    """What stands for a label where its embedding starts the head: name and description together.

    On the demo that is right more often, untrained, than the name or the description alone.
    """
    return f"{in_words(name)}: {description}" if description else in_words(name)


def inline(labels: str) -> bool:
    """Whether `data.labels` holds the names themselves, and not the path of a file with them."""
    return labels.lstrip()[:1] in ("[", "{")


def written(labels: Sequence[str] | Mapping[str, str]) -> str:
    """Names, or names with descriptions, as `data.labels` may hold them."""
    return json.dumps(dict(labels) if isinstance(labels, Mapping) else list(labels), ensure_ascii=False)


def read_labels(labels: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and descriptions of `data.labels`: JSON, a list of names or names with their descriptions, or its file."""
    if inline(labels):
        return _read(labels, "the list")
    path = Path(labels)
    try:
        return _read(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BractError(f"data.labels: {path} cannot be read as JSON: {error}") from error


def _read(text: str, place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BractError(f"data.labels: {place} cannot be read as JSON: {error}") from error
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value), "")
    if not isinstance(value, dict) or not value or not all(isinstance(v, str) for kv in value.items() for v in kv):
        raise BractError(f"data.labels: {place} should hold a list of names, or names with descriptions")
    return tuple(value), tuple(described_by(name, text) for name, text in value.items())
