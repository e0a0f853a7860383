"""Fixtures: a home of its own for each test, and a tiny federation."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch and the hub are imported: one thread for the same bits, and no network.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import pytest

from tests.flower.parts import gone

if lines := gone():  # before anything fails by an import: what is missing, and what for
    raise pytest.UsageError("\n".join(lines))

from bract.results.run_folder import RunFolder
from bract.settings.read import read
from client_app.data import cache
from server_app.rounds import run
from tests.harness import InProcessGrid, settings_of, tiny_data, tiny_model


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whether Flower is the one that is known comes first: all else may fail by it."""
    items.sort(key=lambda item: item.path.name != "test_flower_parts.py")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of a test is written outside its own folder."""
    monkeypatch.setenv("BRACT_HOME", str(tmp_path / "home"))
    for cached in (
        cache.dataset,
        cache.partition,
        cache.shard,
        cache.shared,
        cache.model,
        cache.first_parts,
    ):
        cached.cache_clear()
    return tmp_path / "home"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT."""
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CSV."""
    return tiny_data(tmp_path_factory.mktemp("data") / "train.csv")


@pytest.fixture
def config(model_folder: Path, data_file: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A run config for the tiny federation; keyword names use _ for both . and -: pass a dict instead."""

    def make(values: dict[str, Any] | None = None) -> dict[str, Any]:
        return settings_of(
            {
                "model.name": str(model_folder),
                "data.source": f"file:{data_file}",
                "data.max-length": 32,
                "train.steps": 0,
                "train.lr-ratio": 1.0,
                "train.batch": 4,
                "train.lr": 0.01,
                "lora.rank": 2,
                "lora.alpha": 4.0,
                "rounds": 2,
                "federation.deadline": 30.0,
                "run.folder": str(tmp_path / "run"),
                **(values or {}),
            }
        )

    return make


@pytest.fixture
def simulate(config: Callable[..., dict[str, Any]]) -> Callable[..., tuple[RunFolder, InProcessGrid]]:
    """Play a whole run of the tiny federation in this process."""

    def go(
        values: dict[str, Any] | None = None, clients: int = 3, **grid_options: Any
    ) -> tuple[RunFolder, InProcessGrid]:
        run_config = config(values)
        grid = InProcessGrid(clients, run_config, **grid_options)
        return run(grid, read(run_config)), grid

    return go
