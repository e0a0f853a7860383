"""Without a federation: what each client gets of the same steps by itself, and what all begin with."""

import statistics
from typing import Any

import numpy as np
import torch

from benchmarks.board.play import worst
from bract.data import load_test
from bract.examples import examples, measure, pad_id
from bract.model import shape
from bract.settings import DataSettings, Settings, read
from client_app import worker
from client_app.train import train
from server_app.rounds import between_clients


def untrained(values: dict[str, Any], test: str) -> float:
    """Accuracy on the test file before any training."""
    settings = read({**Settings().flat(), **values})
    labels = worker.dataset(settings.data, settings.seed)[1]
    form = shape(settings, len(labels.names))
    net, length = worker.classifier(form), settings.data.max_length
    for part, vector in worker.first_parts(form, labels.descriptions, length).items():
        net.set(part, vector, net.layout)
    table = load_test(DataSettings(test=test), labels.names)
    found = measure(net, examples(table.texts, table.labels, labels.names, form.place, length))
    return found.correct / found.examples


def alone(nodes: int, values: dict[str, Any], test: str) -> dict[str, Any]:
    """A row like that of a federated run: each client's A and B (and head, where it is its own), turn after turn."""
    torch.set_num_threads(1)
    settings = read({**Settings().flat(), **values})
    labels = worker.dataset(settings.data, settings.seed)[1]
    form = shape(settings, len(labels.names))
    net, length = worker.classifier(form), settings.data.max_length
    first = worker.first_parts(form, labels.descriptions, length)
    parts: Any = ("A", "B", "head") if settings.lora.head == "local" else ("A", "B")
    table = load_test(DataSettings(test=test), labels.names) if test else None
    whole = examples(table.texts, table.labels, labels.names, form.place, length) if table else None
    own, tested = [], []
    for client in range(nodes):
        shard = worker.shard(settings.data, settings.seed, nodes, client, form.place)
        for part, vector in first.items():
            net.set(part, vector, net.layout)
        for number in range(settings.rounds if len(shard.train) else 0):
            rng = np.random.default_rng([settings.seed, client, number])
            train(net, shard.train, settings.train, parts, rng, pad=pad_id(form.place))
        if len(shard.holdout):
            own.append(measure(net, shard.holdout))
        if whole is not None:
            found = measure(net, whole)
            tested.append(found.correct / found.examples)
    correct, counts = [m.correct for m in own], [m.examples for m in own]
    row: dict[str, Any] = {"accuracy": sum(correct) / sum(counts), **between_clients(correct, counts), "epsilon": None}
    row |= dict.fromkeys(("upload_bytes", "download_bytes", "upload_values"), 0)
    if tested:
        row |= {"test_accuracy": statistics.mean(tested), "test_worst": worst(tested)}
    return row
