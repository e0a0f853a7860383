"""All that a SuperLink serves, behind what `bract link` puts before it."""

from typing import Any

import pytest
from flwr.superlink import extensions

from bract.flower import superlink


def guarded_superlink(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Flower's own application; what was put before it is gone after the test."""
    from flwr.superlink.main import create_app  # it makes one when it is imported, which is to be before the guard

    monkeypatch.setattr(extensions, "get_middleware", extensions.get_middleware)  # put back afterwards
    superlink.guard()
    return create_app()
