"""The attacker as a ServerApp, for `audit.py --machines`: what it was told of stands in the run's folder, and stays."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from benchmarks.audit_attack import Asked, Told, attack
from bract.privacy.spending import PrivacySpending
from bract.settings.read import read

ASKED, SUMS, SPENT = "asked.json", "sums.npy", "spent.json"
PAUSE = 0.2  # seconds between two looks at which nodes are there

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Wait for the nodes, attack, write down what they told."""
    settings = read(context.run_config)
    folder, end = Path(settings.run.folder), time.monotonic() + settings.federation.deadline
    while len(list(grid.get_node_ids())) < settings.federation.nodes and time.monotonic() < end:
        time.sleep(PAUSE)
    save(attack(grid, load_asked(folder)), folder)


def save_asked(asked: Asked, folder: Path) -> None:
    """For the ServerApp, which may lack a model to find the embedding with."""
    (folder / ASKED).write_text(json.dumps(asdict(asked) | {"embedding": asked.embedding.tolist()}))


def load_asked(folder: Path) -> Asked:
    """What `save_asked` wrote."""
    value = json.loads((folder / ASKED).read_text())
    return Asked(**(value | {"embedding": np.array(value["embedding"])}))


def save(told: list[Told], folder: Path) -> None:
    """What the clients told; the sums come last and at once, so that a file of them is whole."""
    (folder / SPENT).write_text(json.dumps([[spent.to_json() for spent in one.spendings] for one in told]))
    np.save(folder / f"part-{SUMS}", np.array([one.sums for one in told]))
    (folder / f"part-{SUMS}").rename(folder / SUMS)


def load(folder: Path) -> list[Told]:
    """What `save` wrote."""
    spent = json.loads((folder / SPENT).read_text())
    sums = np.load(folder / SUMS)
    return [
        Told(list(each), [PrivacySpending.from_json(line) for line in lines])
        for each, lines in zip(sums, spent, strict=True)
    ]
