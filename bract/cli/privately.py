"""How a private run in simulation keeps most accuracy, where its user has not said how it is to train.

Chosen by what was measured: docs/price.md. Across machines each node's operator decides whom it trusts, so there the
app's own defaults hold, by which each client's noise protects it alone.
"""

from collections.abc import Mapping
from typing import Any

from bract.errors import BractError
from bract.settings.read import read
from bract.settings.schema import Settings

LEAST = 3  # clients of a sum that nobody sees into
TOGETHER: dict[str, Any] = {
    "federation.sum": "secure",
    "privacy.noise": "shared",
    "federation.measure": "every:5",
    "train.steps": 1,
    "rounds": 15,
}
# Who says one of these has said how the run is to train.
SAID = {*TOGETHER, "federation.fraction", "train.epochs", "train.optimizer", "train.lr", "train.batch", "server.lr"}


def together(overrides: Mapping[str, Any], settings: Settings, clients: int) -> dict[str, Any]:
    """What is set beside the user's words for clients to share noise in a secure sum; nothing where that cannot be."""
    if not settings.privacy.by_clients or clients < LEAST or SAID & overrides.keys():
        return {}
    try:
        read({**settings.flat(), **TOGETHER})
    except BractError:  # the method, or something else that was asked for, does not go with it
        return {}
    return dict(TOGETHER)


def alone(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The same run with each client's noise its own, in a folder of its own; measured once."""
    kept = {key: value for key, value in overrides.items() if key not in TOGETHER}
    return {**kept, **_folder(overrides, "local"), "federation.measure": "last"}


def without_privacy(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The same run with nothing protected, in a folder of its own; measured as the private one."""
    shared = overrides.get("privacy.noise") == "shared"
    kept = {k: v for k, v in overrides.items() if not k.startswith("privacy.") and not (shared and k in TOGETHER)}
    once = {"federation.measure": "last"} if shared else {}
    return {**kept, **_folder(overrides, "plain"), **once, "privacy.unit": "none"}


def _folder(overrides: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"run.folder": f"{overrides['run.folder']}-{name}"} if overrides.get("run.folder") else {}
