"""A node's policy from its file and its configuration.

Faults here are the operator's to read: they name keys and values, and stay at the node.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bract.errors import BractError, PublicError
from bract.files import require_private
from bract.privacy.spending import Limit
from bract.settings.flat import hyphens
from client_app.policy.policy import Policy

OLDER = {"privacy-limit": "privacy-epsilon", "labels-path": "data-labels"}  # names of before there were policies
LIMITS = ("privacy-epsilon", "privacy-delta")


def rank(config: Mapping[str, Any]) -> float | None:
    """How many ranks this device carries; None where its `rank` says nothing."""
    value = config.get("rank")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 4096:
        raise PublicError(f"rank={value!r} in the node's configuration should be a number above 0 up to 4096: rank=4")
    return float(value)


def of_node(config: Mapping[str, Any]) -> Policy | None:
    """The policy of a node's configuration: its `policy` file and the words beside it; None where there is neither.

    A word that stands in both is a fault: nobody should have to know which of the two wins.
    """
    words = _words(config)
    path = config.get("policy")
    if path is None:
        return parsed(words, "the node's configuration") if set(words) - set(LIMITS) else None
    if not isinstance(path, str) or not path.startswith("/"):
        raise BractError(f"policy={path!r} in the node's configuration should be the absolute path of a policy")
    found = read_file(Path(path))
    twice = sorted(words.keys() & words_of(found).keys())
    if twice:
        raise BractError(f"{twice[0]} stands in the node's configuration and in {path}; say it once")
    return parsed({**words_of(found), **words}, path)


def limit_of(config: Mapping[str, Any], policy: Policy | None, unit: str = "example") -> Limit | None:
    """What may be spent in the data's lifetime: by the policy, or by a configuration that says nothing else.

    That one is a simulation's, and is meant for what its run protects: `unit`.
    """
    if policy is not None:
        return policy.limit
    words = _words(config)
    if "privacy-epsilon" not in words:
        return None
    return replace(parsed(words, "the node's configuration").limit, unit=unit)


def read_file(path: Path) -> dict[str, Any]:
    """A policy file's tables. One that others may write is nobody's word."""
    if not path.is_file():
        raise BractError(f"there is no policy {path}")
    require_private(path, "the policy")
    return _toml(path, path.stat().st_mtime_ns)


def parsed(words: Mapping[str, Any], place: str) -> Policy:
    """The policy of flat words; all faults in one error."""
    known = names()
    faults = [f"{word}: a policy has no such key" for word in words if word not in known]
    tree: dict[str, dict[str, Any]] = {}
    for word, value in words.items():
        if word in known:
            section, name = known[word]
            tree.setdefault(section, {})[name] = _labels(value) if word == "data-labels" else value
    try:
        policy = TypeAdapter(Policy).validate_python(tree)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False):
            where = "-".join(hyphens(str(part)) for part in fault["loc"][:2])
            faults.append(f"{where} = {fault['input']!r}: {fault['msg']}")
        policy = Policy()
    if faults:
        raise BractError(f"{place}: {'; '.join(dict.fromkeys(faults))}")
    return policy


def names() -> dict[str, tuple[str, str]]:
    """Every flat word of a policy, with its table and name."""
    sections = {section.name: section.default_factory for section in fields(Policy)}
    return {
        hyphens(f"{section}-{one.name}"): (section, one.name)
        for section, make in sections.items()
        for one in fields(make())  # type: ignore[operator]  # each has a factory
    }


def flat(policy: Policy) -> dict[str, Any]:
    """Every word of a policy with its value."""
    whole = asdict(policy)
    return {word: whole[section][name] for word, (section, name) in names().items()}


def _words(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a node's configuration says of a policy, under the names of today."""
    known = names()
    named = {OLDER.get(key, key): value for key, value in config.items()}
    return {key: value for key, value in named.items() if key in known}


def words_of(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A policy file's tables as flat words."""
    return {
        (f"{section}-{name}"): value
        for section, table in tables.items()
        for name, value in (table.items() if isinstance(table, dict) else [("", table)])
    }


def _labels(value: Any) -> Any:
    """Names as they stand, or those of a JSON file."""
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    try:
        found = json.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BractError(f"data-labels: {value} cannot be read as JSON: {error}") from error
    return [str(name) for name in found] if isinstance(found, list) else found


@lru_cache(maxsize=8)
def _toml(path: Path, changed: int) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BractError(f"policy {path} cannot be read: {error}") from error
