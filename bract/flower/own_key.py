"""A node's own key: where the words for Flower's SuperNode name it, and whether the roster of its policy knows it."""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.flower.keys import NODE_FILES, given
from bract.flower.roster import load_node_key, point_of, read_roster

OPTION = "auth-supernode-private-key"


def path_of(words: Sequence[str]) -> Path | None:
    """The absolute path of the key that the SuperNode shows; None where it shows none."""
    path = given("node", words, NODE_FILES)[OPTION]
    return None if path is None else path.absolute()


def require_on_roster(words: Sequence[str]) -> None:
    """Refuse to start a node whose policy names a roster and whose own key is not in it, or that has no key."""
    roster, path = _roster_of(words), path_of(words)
    if not roster:
        return
    if path is None:
        raise BractError(f"peers.roster is set, so the node needs its own key, which stands there: --{OPTION} KEY")
    if point_of(load_node_key(path)) not in read_roster(Path(roster)):
        raise BractError(f"this node's own key, {path}, is not in the roster {roster} of its policy")


def _roster_of(words: Sequence[str]) -> str:
    """The roster that the node's configuration names, or the policy there; whoever obeys them finds their faults."""
    config = _configuration(words)
    found = config.get("peers-roster") or _peers(config.get("policy")).get("roster")
    return found if isinstance(found, str) else ""


def _configuration(words: Sequence[str]) -> dict[str, Any]:
    """The node's configuration as Flower reads it; nothing where it refuses to, which it says itself."""
    from click import ClickException
    from flwr.common.config import parse_config_args

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--node-config", default="")
    try:
        return parse_config_args([parser.parse_known_args(list(words))[0].node_config])
    except (ClickException, ValueError, OSError):
        return {}


def _peers(policy: Any) -> dict[str, Any]:
    """The table [peers] of a policy file."""
    if not isinstance(policy, str):
        return {}
    try:
        table = tomllib.loads(Path(policy).read_text(encoding="utf-8")).get("peers", {})
    except (OSError, ValueError) as error:
        raise BractError(f"policy {policy} cannot be read: {error}") from error
    return table if isinstance(table, dict) else {}
