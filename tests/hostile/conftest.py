"""A node to attack."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.node import Node


@pytest.fixture
def node(tmp_path: Path, model_folder: Path) -> Callable[..., Node]:
    """Makes nodes: `node(rows, policy={"privacy": {"epsilon": 0.0}})`."""

    def make(*rows: Any, name: str = "node", **more: Any) -> Node:
        return Node(tmp_path / name, model_folder, *rows, **more)

    return make
