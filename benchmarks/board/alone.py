"""Without a federation: what each client gets of the same steps by itself, and what all begin with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.board.data import columns
from bract.adapter.layout import Part, Parts
from bract.data.tables import load_test
from bract.models.lora_model import LoraModel, shape
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.settings.steps import steps_in_round
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples, summed
from bract.tasks.tokens import pad_id
from client_app.data import cache
from client_app.training.loop import Phase, train
from server_app.rounds import between_clients


def untrained(values: dict[str, Any], test: str) -> float:
    """Accuracy on the test file before any training."""
    _, net, first, whole = _begun(values, test)
    for part, vector in first.items():
        net.set(part, vector, net.layout)
    return _accuracy(summed(CLASSIFICATION.measure(net, whole)))


def alone(nodes: int, values: dict[str, Any], test: str) -> tuple[dict[str, Any], list[float]]:
    """A row like that of a federated run: each client's A and B (and head, where one trains), round after round.

    And the accuracy of each client's model on the test file, where one is named.
    """
    torch.set_num_threads(1)
    settings, net, first, whole = _begun(values, test)
    parts: tuple[Part, ...] = ("A", "B", "head") if settings.lora.head in ("local", "shared") else ("A", "B")
    own, tested = [], []
    for client in range(nodes):
        shard = cache.shard(settings.data, settings.seed, CLASSIFICATION.name, nodes, client, net.shape.place)
        for part, vector in first.items():
            net.set(part, vector, net.layout)
        steps = steps_in_round(settings.train, len(shard.train), private=False).total
        for number in range(settings.rounds if len(shard.train) else 0):
            rng = np.random.default_rng([settings.seed, client, number])
            train(
                net,
                shard.train,
                settings.train,
                Phase(parts, steps),
                rng,
                losses=CLASSIFICATION.losses,
                pad=pad_id(net.shape.place),
            )
        if len(shard.holdout):
            own.append(summed(CLASSIFICATION.measure(net, shard.holdout)))
        if len(whole):
            tested.append(_accuracy(summed(CLASSIFICATION.measure(net, whole))))
    together = {name: sum(one[name] for one in own) for name in own[0]}
    between = between_clients(CLASSIFICATION, [_accuracy(one) for one in own])
    row: dict[str, Any] = {"accuracy": _accuracy(together), **between, "epsilon": None}
    row |= dict.fromkeys(("upload_bytes", "download_bytes", "upload_values"), 0)
    return row, tested


def _begun(values: dict[str, Any], test: str) -> tuple[Settings, LoraModel, Parts, Examples]:
    """The settings, the model, its first values, and the test file's examples: none where no file is named."""
    settings = read({**Settings().flat(), **values})
    outputs = cache.dataset(settings.data, settings.seed, CLASSIFICATION.name)[1]
    form = shape(settings, outputs.size, CLASSIFICATION.auto_class)
    length, whole = settings.data.max_length, Examples([], np.zeros(0, np.int64))
    if test:
        table = load_test(columns(values, test), CLASSIFICATION, outputs)
        whole = CLASSIFICATION.examples(table, np.arange(len(table)), outputs, form.place, length)
    return settings, cache.model(form), cache.first_parts(form, outputs.descriptions, length), whole


def _accuracy(sums: Mapping[str, float]) -> float:
    return CLASSIFICATION.figures(sums)["accuracy"]
