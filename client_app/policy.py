"""What a node's operator says in its configuration, and no server can change."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from bract.errors import BractError
from bract.privacy.spending import Limit
from bract.settings.schema import DataSettings


def rank(config: Mapping[str, Any]) -> float | None:
    """How many ranks this device carries; None where its `rank` says nothing."""
    value = config.get("rank")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 4096:
        raise BractError(f"rank={value!r} in the node's configuration should be a number above 0 up to 4096: rank=4")
    return float(value)


def data(config: Mapping[str, Any], wanted: DataSettings) -> DataSettings:
    """The data settings with the node's own files: `data-path`, and `labels-path` where the run names no labels.

    A node with a `data-path` trains on that and on nothing else, whatever a server asks for; nowhere does a server's
    message name the file.
    """
    if wanted.source != "node":
        if "data-path" in config:
            raise BractError("data.source: this node trains on its own data alone; it should be 'node'")
        return wanted
    path, labels = config.get("data-path"), config.get("labels-path", "")
    if not isinstance(path, str) or not re.fullmatch("/.+", path):
        raise BractError("data.source = 'node': the node's configuration should hold data-path, an absolute path")
    if not isinstance(labels, str) or not re.fullmatch("|/.+", labels):
        raise BractError("labels-path in the node's configuration should be an absolute path")
    return replace(wanted, source=f"file:{path}", labels=wanted.labels or labels)


@contextmanager
def unnamed(settings: DataSettings) -> Iterator[None]:
    """What is wrong with a node's own files leaves the node, so it is told without their names."""
    try:
        yield
    except BractError as error:
        words, path = str(error), settings.source.removeprefix("file:")
        for name, stands in (
            (settings.source, "its data-path"),
            (path, "its data-path"),
            (settings.labels, "its labels"),
        ):
            words = words.replace(name, stands) if name else words
        raise BractError(words) from None


def limit(config: Mapping[str, Any]) -> Limit | None:
    """The operator's `privacy-limit`, an epsilon for the life of the data, at `privacy-delta` (1e-5)."""
    if "privacy-limit" not in config:
        return None
    try:
        found = Limit(float(config["privacy-limit"]), float(config.get("privacy-delta", 1e-5)))
    except (TypeError, ValueError) as error:
        raise BractError(f"privacy-limit in the node's configuration should be a number: {error}") from error
    if not (0 <= found.epsilon < math.inf and 0 < found.delta < 1):
        raise BractError("privacy-limit in the node's configuration should be an epsilon, such as privacy-limit=10")
    return found
