"""What the schema declares about each key, for whoever checks values or writes about them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from bract.settings import methods, tasks
from bract.settings.flat import Value, hyphens
from bract.settings.schema import Settings

KINDS = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


@dataclass(frozen=True)
class Setting:
    """One key: `kind` is a word of `KINDS`; without bounds `low` and `high` are infinite."""

    section: str
    kind: str
    default: Value
    help: str
    example: Value
    since: str
    choices: tuple[str, ...]
    low: float
    high: float
    form: str


def declared() -> dict[str, Setting]:
    """Every key with what is declared about it."""
    return _declared((*methods.names(), *tasks.names()))


def sections() -> dict[str, str]:
    """Every section with what it is about."""
    whole = TypeAdapter(Settings).json_schema()
    return {
        hyphens(name): _inner(whole, value)["description"]
        for name, value in whole["properties"].items()
        if "$ref" in value
    }


@lru_cache
def _declared(names: tuple[str, ...]) -> dict[str, Setting]:
    whole = TypeAdapter(Settings).json_schema()
    found: dict[str, Setting] = {}
    for name, value in whole["properties"].items():
        if "$ref" not in value:
            found[hyphens(name)] = _setting("", value)
            continue
        for inner, one in _inner(whole, value)["properties"].items():
            found[f"{hyphens(name)}.{hyphens(inner)}"] = _setting(name, one)
    return found


def _inner(whole: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["$defs"][value["$ref"].rpartition("/")[2]]
    return found


def _setting(section: str, value: Mapping[str, Any]) -> Setting:
    return Setting(
        section=section,
        kind=KINDS[value["type"]],
        default=value["default"],
        help=value["description"],
        example=value["examples"][0],
        since=value["since"],
        choices=tuple(value.get("enum", ())),
        low=value.get("minimum", -math.inf),
        high=value.get("maximum", math.inf),
        form=value["form"],
    )
