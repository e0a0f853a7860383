"""Settings from run-config values: read once, checked all together."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bract.errors import BractError
from bract.settings.checks import conflicts
from bract.settings.declared import Setting, declared
from bract.settings.flat import hyphens, nested
from bract.settings.schema import Settings
from bract.settings.sums import unsummed

WRONG_KIND = ("string_type", "int_type", "float_type", "bool_type")  # pydantic's words


def read(values: Mapping[str, Any]) -> Settings:
    """Settings from run-config values; all faults are reported in one error.

    Keys that are missing keep their defaults. Keys that Bract does not know are refused, with
    the nearest one that it does.
    """
    known = declared()
    faults = {
        key: f"{key}: no such setting; the nearest is {_nearest(key, known)}" for key in values if key not in known
    }
    settings = Settings()
    try:
        settings = TypeAdapter(Settings).validate_python(nested({key: values[key] for key in values if key in known}))
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False):
            key = ".".join(hyphens(str(name)) for name in fault["loc"])
            faults[key] = f"{key} = {fault['input']!r}: should be {_right(known[key], fault['type'], fault['input'])}"
    found = [faults[key] for key in values if key in faults] or conflicts(settings) + unsummed(settings)
    if found:
        raise BractError("; ".join(found))
    return settings


def _right(setting: Setting, fault: str, value: object) -> str:
    """What a value should be."""
    if fault in WRONG_KIND or (setting.choices and not isinstance(value, str)):
        return f"{setting.kind}, such as {json.dumps(setting.default)}"
    if setting.choices:
        return f"one of {', '.join(setting.choices)}; the nearest is {_nearest(str(value), setting.choices)}"
    if setting.form:
        return setting.form
    if math.isinf(setting.high):
        return f"at least {setting.low:g}"
    return f"between {setting.low:g} and {setting.high:g}"


def _nearest(word: str, words: Iterable[str]) -> str:
    return difflib.get_close_matches(word, words, n=1, cutoff=0.0)[0]
