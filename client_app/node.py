"""What a node's operator says in its configuration, and no server can change."""

import math
from collections.abc import Mapping
from typing import Any

from bract.errors import BractError
from client_app.ledger import Limit


def rank(config: Mapping[str, Any]) -> float | None:
    """How many ranks this device carries; None where its `rank` says nothing."""
    value = config.get("rank")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 4096:
        raise BractError(f"rank={value!r} in the node's configuration should be a number above 0 up to 4096: rank=4")
    return float(value)


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
