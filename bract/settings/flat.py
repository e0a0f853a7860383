"""Settings as Flower keeps them: dotted keys with hyphens, and TOML."""

import json
from collections.abc import Mapping
from typing import Any

Value = str | int | float | bool


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys with hyphens."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + hyphens(name)
        flat |= flatten(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return flat


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys with hyphens as the nested names that they mean."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        section, dot, name = key.replace("-", "_").rpartition(".")
        (tree.setdefault(section, {}) if dot else tree)[name] = value
    return tree


def hyphens(name: str) -> str:
    """A name in Python as a part of a key."""
    return name.replace("_", "-")


def toml(value: Value) -> str:
    """A value as TOML writes it: as JSON does, but without its pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False)
