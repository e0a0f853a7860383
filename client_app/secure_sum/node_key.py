"""The node's own registered key, which `bract node` hands to its trainer; no message names a path."""

import os
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from bract.flower.roster import NODE_KEY, load_node_key


def node_key() -> ec.EllipticCurvePrivateKey | None:
    """The key; None where the node was started without one."""
    path = os.environ.get(NODE_KEY, "")
    return _loaded(path) if path else None


@lru_cache(maxsize=1)
def _loaded(path: str) -> ec.EllipticCurvePrivateKey:
    return load_node_key(Path(path))
