"""What is made once for all tests of a module: models and examples, which take longest of a short run."""

import os
from functools import lru_cache

import pytest

from client_app.data import cache

NAMES = ("layout", "model", "first_parts", "dataset", "partition", "shard")
KEPT = {name: lru_cache(maxsize=64)(getattr(cache, name).__wrapped__) for name in NAMES}


def keep(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone. All parts of a model are set anew by every request.

    Nor does a test wait for the disk: none here loses power.
    """
    for name, kept in KEPT.items():
        patch.setattr(cache, name, kept)
    patch.setattr(os, "fsync", lambda _: None)
