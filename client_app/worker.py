"""What a worker process keeps between messages, clients and rounds: model, tokens, shards."""

import hashlib
from functools import lru_cache

import numpy as np
from flwr.common.logger import log
from numpy.typing import NDArray
from safetensors import SafetensorError

from bract.data import LabelSet, Table, label_set, load, stamp
from bract.examples import Examples, examples, pad_id, tokenise
from bract.files import home, locked
from bract.layout import Layout, Parts
from bract.model import Classifier, Shape, build, pick_device
from bract.partition import Partition
from bract.settings import DataSettings
from client_app.shared import Shard, Shared, read, write

WARNING = 30


@lru_cache(maxsize=1)
def dataset(settings: DataSettings, seed: int) -> tuple[Table, LabelSet]:
    """The whole table and its classes."""
    table = load(settings, seed)
    return table, label_set(settings, table)


@lru_cache(maxsize=1)
def partition(settings: DataSettings, seed: int, clients: int) -> Partition:
    """Who has which rows."""
    return Partition(dataset(settings, seed)[0], settings, clients, seed)


@lru_cache(maxsize=1)
def shared(settings: DataSettings, seed: int, clients: int, place: str, run: int) -> Shared:
    """All clients' examples as the workers of a run share them: the first that asks makes the file.

    A worker that finds it reads no text. Where it cannot be written they are in this process's memory.
    """
    asked = repr((settings, seed, clients, place, stamp(settings)))
    name = f"{run}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.safetensors"
    try:
        with locked(home() / "tokens" / "lock"):
            found = read(home() / "tokens" / name)
            if found is None:
                _, labels = dataset(settings, seed)
                shards = (tokenised(settings, seed, clients, client, place) for client in range(clients))
                write(home() / "tokens" / name, labels, shards)
                found = read(home() / "tokens" / name)
    except (OSError, SafetensorError) as error:
        log(WARNING, "tokenised texts stay in every worker's memory: %s", error)
        found = None
    if found is None:
        shards = (tokenised(settings, seed, clients, client, place) for client in range(clients))
        return Shared(dataset(settings, seed)[1], list(shards))
    for cached in (dataset, partition):  # the texts have served their turn
        cached.cache_clear()
    return found


@lru_cache(maxsize=1)
def shard(settings: DataSettings, seed: int, place: str) -> Shard:
    """A node's own examples: all that its data has."""
    return tokenised(settings, seed, 1, 0, place)


def tokenised(settings: DataSettings, seed: int, clients: int, client: int, place: str) -> Shard:
    """One client's examples."""
    table, labels = dataset(settings, seed)
    rows = partition(settings, seed, clients).shard(client)

    def of(which: NDArray[np.int64]) -> Examples:
        texts, classes = [table.texts[i] for i in which], [table.labels[i] for i in which]
        return examples(texts, classes, labels.names, place, settings.max_length)

    return Shard(of(rows.train), of(rows.holdout))


_stamps: dict[DataSettings, tuple[tuple[int, int], ...]] = {}


def refresh(settings: DataSettings) -> None:
    """Forget the data if its files have changed since they were read: a resident trainer outlives runs."""
    now = stamp(settings)
    if _stamps.get(settings, now) != now:
        for cached in (dataset, partition, shard, shared):
            cached.cache_clear()
    _stamps[settings] = now


@lru_cache(maxsize=1)
def layout(shape: Shape) -> Layout:
    """From the model's configuration alone: no weight is read."""
    return build(shape, meta=True).layout


@lru_cache(maxsize=1)
def classifier(shape: Shape) -> Classifier:
    """The model, on the device, shared by all clients that this process plays."""
    return build(shape).to(pick_device())


@lru_cache(maxsize=1)
def first_parts(shape: Shape, descriptions: tuple[str, ...], length: int) -> Parts:
    """Every part's first values. Callers copy before they change."""
    model = classifier(shape)
    labels = [ids.tolist() for ids in tokenise(descriptions, shape.place, length)]
    return model.initial_parts(model.layout, labels, pad_id(shape.place))
