"""Without a federation: what each client gets of the same steps by itself, and what all begin with."""

import statistics
from typing import Any

import numpy as np
import torch

from benchmarks.board.data import columns
from benchmarks.board.play import worst
from bract.adapter.layout import Parts
from bract.data.tables import Table, load_test
from bract.models.lora_model import Classifier, shape
from bract.settings.schema import Settings, read
from bract.settings.steps import steps_in_round
from bract.tasks.classification import examples, losses, measure, pad_id
from bract.tasks.task import Examples
from client_app.data import cache
from client_app.training.loop import Phase, train
from server_app.rounds import between_clients


def untrained(values: dict[str, Any], test: str) -> float:
    """Accuracy on the test file before any training."""
    _, net, first, whole = _begun(values, test)
    for part, vector in first.items():
        net.set(part, vector, net.layout)
    found = measure(net, whole)
    return found.correct / found.examples


def alone(nodes: int, values: dict[str, Any], test: str) -> dict[str, Any]:
    """A row like that of a federated run: each client's A and B (and head, where one trains), turn after turn."""
    torch.set_num_threads(1)
    settings, net, first, whole = _begun(values, test)
    parts: Any = ("A", "B", "head") if settings.lora.head in ("local", "shared") else ("A", "B")
    own, tested = [], []
    for client in range(nodes):
        shard = cache.shard(settings.data, settings.seed, nodes, client, net.shape.place)
        for part, vector in first.items():
            net.set(part, vector, net.layout)
        steps = steps_in_round(settings.train, len(shard.train), private=False).total
        for number in range(settings.rounds if len(shard.train) else 0):
            rng = np.random.default_rng([settings.seed, client, number])
            phase, pad = Phase(parts, steps), pad_id(net.shape.place)
            train(net, shard.train, settings.train, phase, rng, losses=losses, pad=pad)
        if len(shard.holdout):
            own.append(measure(net, shard.holdout))
        if len(whole):
            found = measure(net, whole)
            tested.append(found.correct / found.examples)
    correct, counts = [m.correct for m in own], [m.examples for m in own]
    row: dict[str, Any] = {"accuracy": sum(correct) / sum(counts), **between_clients(correct, counts), "epsilon": None}
    row |= dict.fromkeys(("upload_bytes", "download_bytes", "upload_values"), 0)
    if tested:
        row |= {"test_accuracy": statistics.mean(tested), "test_worst": worst(tested)}
    return row


def _begun(values: dict[str, Any], test: str) -> tuple[Settings, Classifier, Parts, Examples]:
    """The settings, the model, its first values, and the test file's examples: none where no file is named."""
    settings = read({**Settings().flat(), **values})
    labels = cache.dataset(settings.data, settings.seed)[1]
    form = shape(settings, len(labels.names))
    length = settings.data.max_length
    table = load_test(columns(values, test), labels.names) if test else Table((), ())
    whole = examples(table.texts, table.labels, labels.names, form.place, length)
    return settings, cache.classifier(form), cache.first_parts(form, labels.descriptions, length), whole
