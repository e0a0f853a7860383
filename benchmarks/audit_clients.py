"""The clients that are audited: their data with canaries, their settings, and messages to them within one process."""

import csv
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Message
from numpy.typing import NDArray

from benchmarks.audit_attack import Asked, Told, attack
from bract.batching import batch_of
from bract.data.demo import generator
from bract.models.lora_model import LoraModel, shape
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.tasks.tokens import pad_id, tokenise
from client_app.data import cache
from tests.harness import InProcessGrid

TEXT = "a"  # of every canary: it is the label that tells them apart
SPREAD = 4.0  # standard deviations by which a client's number of records may lie below what is expected


@dataclass(frozen=True)
class Audit:
    """What is audited: so many clients, each with so many canaries and ordinary texts of the demo's."""

    model: str = "minilm"
    epsilon: float = 8.0
    delta: float = 1e-7
    clients: int = 8
    canaries: int = 5000  # of each client
    ordinary: int = 200  # of each client
    rounds: int = 12
    person: int = 0  # texts of a canary that is a person; 0: a canary is one text
    unit: str = "example"
    joins: int = 0  # as privacy.joins

    @property
    def targets(self) -> int:
        """Clients that have canaries: the first ones."""
        return self.clients

    @property
    def total(self) -> int:
        """Canaries of all clients."""
        return self.targets * self.canaries

    @property
    def copies(self) -> int:
        """Records that a canary is: what the unit protects is one."""
        return 1 if self.unit == "person" else max(1, self.person)

    @property
    def records(self) -> float:
        """Records that a client is expected to have."""
        return self.ordinary + self.copies * self.canaries / 2

    @property
    def batch(self) -> int:
        """As large as it may be: a client with fewer records would abstain. The rate is then 1, or little below."""
        return max(1, int(self.records - SPREAD * self.copies * math.sqrt(self.canaries) / 2))

    @cached_property
    def labels(self) -> list[str]:
        """Those of the demo, and one for each canary of a client; clients have the same."""
        return [*generator.LABELS, *(f"canary{i}" for i in range(self.canaries))]

    @property
    def canary_labels(self) -> NDArray[np.int64]:
        """The canaries' rows in the head."""
        return np.arange(len(generator.LABELS), len(self.labels))


def toss(audit: Audit) -> NDArray[np.bool_]:
    """Which canaries are in the data: a fair coin each, by client that has some."""
    return np.random.default_rng().random((audit.targets, audit.canaries)) < 0.5


def write_data(audit: Audit, there: NDArray[np.bool_], folder: Path) -> list[Path]:
    """Each client's file: its part of the demo's texts, and its canaries."""
    demo = generator.make(seed=0, size=max(64, audit.clients * audit.ordinary))
    paths = []
    for client in range(audit.clients):
        ordinary = demo[client * audit.ordinary : (client + 1) * audit.ordinary]
        # Persons are each client's own: one who was at two would be dealt out whole to one of them.
        rows = [(one.text, one.label, f"{client:04}/ordinary{i}", f"{client:04}") for i, one in enumerate(ordinary)]
        for i in np.flatnonzero(there[client]) if client < audit.targets else ():
            rows += [(TEXT, f"canary{i}", f"{client:04}/canary{i}", f"{client:04}")] * max(1, audit.person)
        paths.append(folder / f"client{client}.csv")
        with paths[-1].open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label", "user", "client"), *rows])
    return paths


def settings_of(audit: Audit, source: str, folder: Path) -> dict[str, Any]:
    """Plain gradient descent at a rate of 1 in one step a round, so that what is released is a sum of gradients.

    No factor trains. That those of the last layer alone could lets clients keep what the layers below give.
    """
    values: dict[str, Any] = {
        **Settings().flat(),
        "rounds": audit.rounds,
        "model.name": audit.model,
        "model.pooling": "mean",
        "data.source": source,
        "data.labels": json.dumps(audit.labels),
        "data.holdout": 0.0,
        "data.max-length": 32,
        "lora.head": "shared",
        "lora.head-init": "random",
        "train.batch": audit.batch,
        "train.steps": 1,
        "train.optimizer": "sgd",
        "train.lr": 1.0,
        "privacy.unit": audit.unit,
        "privacy.epsilon": audit.epsilon,
        "privacy.delta": audit.delta,
        "privacy.clip": 0.1,  # a canary's gradient is some 1.4 long
        "privacy.joins": audit.joins,
    }
    if audit.unit == "person":
        values |= {"data.user": "user", "privacy.per-person": audit.person}
    settings = read(values)
    layout = cache.layout(shape(settings, len(audit.labels), task_of(settings.model.task).auto_class))
    return {**values, "lora.targets": layout.modules[-1].name}


def asked_of(values: dict[str, Any], labels: int) -> Asked:
    """What the attacker knows: the settings, and by the public base model the canaries' embedding."""
    settings = read(values)
    net = cache.model(shape(settings, labels, task_of(settings.model.task).auto_class))
    return Asked(
        rounds=settings.rounds,
        batch=settings.train.batch,
        lr=settings.train.lr,
        clip=settings.privacy.clip,
        embedding=embedding(net, settings.data.max_length),
    )


def embedding(net: LoraModel, length: int) -> NDArray[np.float64]:
    """Of the canaries' text."""
    place = net.shape.place
    ids = [tokens.tolist() for tokens in tokenise([TEXT], place, length)]
    with torch.no_grad():
        return np.asarray(net.pooled(*batch_of(ids, pad_id(place), net.device))[0].double().cpu().numpy())


def write_whole(audit: Audit, there: NDArray[np.bool_], folder: Path) -> Path:
    """All clients' data in one file."""
    whole = folder / "all.csv"
    with whole.open("w") as file:
        for i, path in enumerate(write_data(audit, there, folder)):
            file.writelines(path.read_text().splitlines(keepends=True)[1 if i else 0 :])
    return whole


def grid_of(audit: Audit, values: dict[str, Any]) -> InProcessGrid:
    """All clients in this process."""

    def forget(partition: int, reply: Message) -> Message:
        grid.log.clear()  # its bytes, which the harness would keep to the end
        return reply

    grid = InProcessGrid(audit.clients, values, tamper=forget)
    return grid


def in_process(audit: Audit, there: NDArray[np.bool_], folder: Path) -> list[Told]:
    """What the clients tell where one process carries the messages, each written to bytes and read again."""
    values = settings_of(audit, f"file:{write_whole(audit, there, folder)}", folder)
    values["data.partition"] = "natural:client"
    return attack(grid_of(audit, values), asked_of(values, len(audit.labels)))
