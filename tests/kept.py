"""Models that are built once for all tests of a module: building is what takes longest of a short run."""

from functools import lru_cache

import pytest

from client_app.data import cache

KEPT = {name: lru_cache(maxsize=16)(getattr(cache, name).__wrapped__) for name in ("layout", "model", "first_parts")}


def keep_models(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone. All parts of a model are set anew by every request."""
    for name, kept in KEPT.items():
        patch.setattr(cache, name, kept)
