"""What a worker process keeps between messages, clients and rounds: model, tokens, shards."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bract.data import LabelSet, Table, label_set, load, stamp
from bract.examples import Examples, examples, pad_id, tokenise
from bract.layout import Layout, Parts
from bract.model import Classifier, Shape, build, pick_device
from bract.partition import Partition
from bract.settings import DataSettings


@dataclass(frozen=True)
class Shard:
    """A client's tokenised examples."""

    train: Examples
    holdout: Examples


@lru_cache(maxsize=1)
def dataset(settings: DataSettings, seed: int) -> tuple[Table, LabelSet]:
    """The whole table and its classes."""
    table = load(settings, seed)
    return table, label_set(settings, table)


@lru_cache(maxsize=1)
def partition(settings: DataSettings, seed: int, clients: int) -> Partition:
    """Who has which rows."""
    return Partition(dataset(settings, seed)[0], settings, clients, seed)


@lru_cache(maxsize=4096)
def shard(settings: DataSettings, seed: int, clients: int, client: int, place: str) -> Shard:
    """One client's examples, tokenised once."""
    table, labels = dataset(settings, seed)
    rows = partition(settings, seed, clients).shard(client)

    def tokenised(which: NDArray[np.int64]) -> Examples:
        texts, classes = [table.texts[i] for i in which], [table.labels[i] for i in which]
        return examples(texts, classes, labels.names, place, settings.max_length)

    return Shard(tokenised(rows.train), tokenised(rows.holdout))


_stamps: dict[DataSettings, tuple[tuple[int, int], ...]] = {}


def refresh(settings: DataSettings) -> None:
    """Forget the data if its files have changed since they were read: a resident trainer outlives runs."""
    now = stamp(settings)
    if _stamps.get(settings, now) != now:
        for cached in (dataset, partition, shard):
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
