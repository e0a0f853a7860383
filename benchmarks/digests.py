"""Digests of whole runs, to show that a change of the code changes no bit of what it computes.

    python benchmarks/digests.py record before.json      # before the change
    python benchmarks/digests.py check before.json       # after it, on the same machine
    python benchmarks/digests.py check before.json prune # only the runs whose names have this word

A run for every method, head, codec and privacy unit, and for what the methods leave open: its factors, the array of
every message in both directions, rounds, clients' rows, privacy spending, what stays on clients' disks, and the
exported adapter. Bits are a machine's own: its torch, its processor. So nothing from elsewhere can be compared.
"""

import contextlib
import hashlib
import io
import itertools
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from safetensors.numpy import load_file

from bract.settings.read import read
from bract.settings.schema import Settings
from server_app.rounds import run
from tests.flower.messages import read_back
from tests.harness import InProcessGrid, tiny_data, tiny_model

METHODS = ("fedit", "ffa", "rolora", "lora-a2", "fedsa", "hetlora", "flexlora")
RANKED = ("lora-a2", "hetlora", "flexlora")
# A clock, a process or a run tells them; and what is said of a request is in the plan's own words.
VARY = {"seconds", "busy", "training_seconds", "federation", "request", "digest", "versions", "adapter", "personal"}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """A name, and settings beside those of all."""
    loose = {"privacy.epsilon": 50.0, "privacy.test-seed": "t"}
    units: dict[str, dict[str, Any]] = {
        "none": {"privacy.unit": "none"},
        "example": {"privacy.unit": "example", **loose, "privacy.delta": 1e-3},
        "client": {"privacy.unit": "client", **loose, "privacy.delta": 1e-2, "federation.fraction": 0.7},
    }
    for (unit, private), method in itertools.product(units.items(), METHODS):
        if (unit, method) == ("client", "flexlora"):
            continue
        base = {"strategy.name": method, **private}
        ranks = {"federation.ranks": "2"} if method in RANKED else {}
        for codec in ("float32", "float16", "int8"):
            yield f"{method} {unit} {codec}", {**base, **ranks, "wire.codec": codec}
        for head in ("frozen", "shared", "local"):
            yield f"{method} {unit} head {head}", {**base, **ranks, "lora.head": head}
        yield f"{method} {unit} labels", {**base, "model.pooling": "mean", "lora.head-init": "labels"}
        yield f"{method} {unit} epochs", {**base, "train.steps": 0, "train.epochs": 2}
        yield f"{method} {unit} opacus", {**base, "train.engine": "opacus", "train.optimizer": "sgd"}
        yield f"{method} {unit} all-linear rslora", {**base, "lora.targets": "all-linear", "lora.variant": "rslora"}
        if method not in RANKED and unit != "example":
            yield f"{method} {unit} vera", {**base, "lora.variant": "vera"}
    for unit, score in itertools.product(("none", "example"), ("magnitude", "sensitivity", "released")):
        yield f"score {score} {unit}", {"strategy.name": "lora-a2", "strategy.score": score, **units[unit]}
    for unit in ("none", "example", "client"):
        yield f"probe {unit}", {"strategy.name": "lora-a2", "strategy.probe": "first-epoch", **units[unit]}
        prune = {"strategy.name": "hetlora", "strategy.gamma": 0.5, "strategy.penalty": 1.0, "federation.ranks": "4"}
        yield f"prune {unit}", {**prune, **units[unit], "train.lr": 0.05, "train.optimizer": "sgd", "rounds": 4}
        yield f"personal {unit}", {"strategy.name": "fedsa", "strategy.personal-steps": 3, **units[unit]}
    yield "divide", {**units["none"], "strategy.name": "lora-a2", "strategy.divide": "selected"}
    yield "passed", {**units["none"], "strategy.name": "fedsa", "strategy.local-b": "passed"}
    yield "passed example", {"strategy.name": "fedsa", "strategy.local-b": "passed", **units["example"]}
    yield "norm", {**units["none"], "strategy.weights": "norm"}
    yield "shared metrics", {**units["example"], "privacy.share-metrics": True, "privacy.clip-groups": "head"}
    yield "half", {"federation.fraction": 0.5, "strategy.name": "fedsa", **units["example"]}
    yield "dirichlet", {**units["none"], "data.partition": "dirichlet:0.3", "data.holdout-mix": "independent"}
    yield "natural", {"data.partition": "natural:site", "privacy.accountant": "rdp", **units["example"]}


def digest(model: str, data: str, values: dict[str, Any]) -> dict[str, str]:
    """What one run gives, by kind."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BRACT_HOME"] = f"{folder}/home"
        config: dict[str, Any] = {
            **Settings().flat(),
            "model.name": model,
            "data.source": f"file:{data}",
            "data.max-length": 32,
            "train.steps": 4,
            "train.batch": 4,
            "train.lr": 0.01,
            "lora.rank": 4,
            "lora.alpha": 8.0,
            "rounds": 3,
            "run.folder": f"{folder}/run",
            **values,
        }
        grid = InProcessGrid(3, config)
        with contextlib.redirect_stdout(io.StringIO()):
            run(grid, read(config))
        place, home = Path(folder) / "run", Path(folder) / "home"
        arrays = [read_back(side).array_records for _, _, *pair in grid.log for side in pair if side]
        return {
            "factors": _of(_tensors(place / "checkpoint" / "state.safetensors")),
            "messages": _of([[bytes(a.data) for r in records.values() for a in r.values()] for records in arrays]),
            "rounds": _of(_plain(_rows(place / "rounds.jsonl"))),
            "clients": _of(_plain(_rows(place / "clients.jsonl"))),
            "pictures": _of(_rows(place / "pictures.jsonl")),
            "privacy": _of(_plain(json.loads(p.read_text()) if (p := place / "privacy.json").exists() else None)),
            "ledgers": _of([_plain(json.loads(p.read_text())) for p in sorted((home / "ledger").glob("*.json"))]),
            "state": _of([_tensors(p) for p in sorted((home / "state").rglob("*.safetensors"))]),
            "adapter": _of([_tensors(p) for p in sorted((place / "adapter").glob("*.safetensors"))]),
            "personal": _of([_tensors(p) for p in sorted((home / "personal").rglob("*.safetensors"))]),
        }


def _tensors(path: Path) -> list[Any]:
    return [(name, value.tobytes()) for name, value in sorted(load_file(path).items())]


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _plain(value: Any) -> Any:
    """Without what differs from run to run."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key not in VARY}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _of(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def main() -> int:
    """Record, or compare and name what differs."""
    what, path, word = sys.argv[1], Path(sys.argv[2]), " ".join(sys.argv[3:])
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model, data = tiny_model(Path(folder) / "model"), tiny_data(Path(folder) / "train.csv", copies=9)
        for name, values in cases():
            if word in name:
                found[name] = digest(str(model), str(data), values)
    if what == "record":
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} runs recorded")
        return 0
    before = {name: kinds for name, kinds in json.loads(path.read_text()).items() if word in name}
    wrong = [f"{name}: {kind}" for name in before for kind in before[name] if found[name][kind] != before[name][kind]]
    print("\n".join(wrong) or f"{len(before)} runs, the same bits in all")
    return 1 if wrong or set(before) != set(found) else 0


if __name__ == "__main__":
    sys.exit(main())
