"""Names of labels: in words, with descriptions, and from a file."""

import json
from pathlib import Path

from bract.errors import BractError


def in_words(name: str) -> str:
    """A label's name as text: `card_arrival` becomes `card arrival`."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def described_by(name: str, description: str) -> str:
    """What stands for a label where its embedding starts the head: name and description together.

    On the demo that is right more often, untrained, than the name or the description alone.
    """
    return f"{in_words(name)}: {description}" if description else in_words(name)


def read_labels(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and descriptions of a JSON file: a list of names, or names with their descriptions."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BractError(f"data.labels: {path} cannot be read as JSON: {error}") from error
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value), "")
    if not isinstance(value, dict) or not all(isinstance(v, str) for kv in value.items() for v in kv):
        raise BractError(f"data.labels: {path} should hold a list of names, or names with descriptions")
    return tuple(value), tuple(described_by(name, text) for name, text in value.items())
