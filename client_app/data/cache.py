"""What a worker process keeps between messages, clients and rounds: model, tokens, shards."""

import hashlib
import sys
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from bract.adapter.layout import Layout, Parts
from bract.data.partition import Partition
from bract.data.tables import described, load, load_own, stamp
from bract.errors import BractError, public
from bract.files import home, locked, node_secret
from bract.log import log
from bract.models.lora_model import LoraModel, Shape, build, pick_device
from bract.privacy.digests import Digests, digests_of, united
from bract.settings.schema import DataSettings
from bract.tasks.registry import task_of
from bract.tasks.task import Examples, Outputs, Table
from bract.tasks.tokens import pad_id, tokenise
from client_app.data.holdout import held_out
from client_app.data.shards import Shard, Shared, read, write

INFO, WARNING = 20, 30


@dataclass(frozen=True)
class OwnData:
    """A node's own table, the rows of it that can be used, and how many rows the file has, used or not."""

    table: Table
    outputs: Outputs
    rows: NDArray[np.int64]
    total: int
    persons: int  # of the whole file, too

    def whole(self, row: int) -> tuple[str, ...]:
        """All cells of a row of the table."""
        return tuple(column[row] for column in self.table.columns.values())


@lru_cache(maxsize=1)
def dataset(settings: DataSettings, seed: int, task: str) -> tuple[Table, Outputs]:
    """The whole table, and what a model is to give for its rows."""
    kind = task_of(task)
    table = load(settings, seed, kind)
    return table, kind.outputs(settings, table, described(settings))


@lru_cache(maxsize=1)
def own_dataset(settings: DataSettings, task: str) -> OwnData:
    """A node's own data: what the head gives comes from the settings alone, and what does not fit it is left out."""
    kind = task_of(task)
    with public():
        outputs = kind.declared(settings)
        if outputs is None:
            raise BractError(
                "data.labels: neither this node's policy nor the run names the labels, and no node tells those of its "
                'data; write them: data.labels = \'["lost", "late"]\''
            )
    table, cells = load_own(settings, kind)
    rows = kind.known(table, outputs)
    if left := len(cells) - len(rows):
        words = "%s of the %s rows cannot be used: they lack a cell, or their label is not in the list"
        log(INFO, words, left, len(cells))
    return OwnData(table, outputs, rows, len(cells), cells.persons)


@lru_cache(maxsize=1)
def own_shard(settings: DataSettings, task: str, place: str) -> Shard:
    """A node's own examples; which are held out is a keyed hash of each one, so that no server decides or knows it.

    Where it is known whose they are, it is a hash of that, and a person's stay together.
    """
    data, users = own_dataset(settings, task), own_dataset(settings, task).table.users
    units = [(users[i],) if users and users[i] else data.whole(i) for i in data.rows]
    held = held_out(units, settings.holdout)
    train, holdout = (
        examples_of(task, data.table, data.rows[which], data.outputs, place, settings) for which in (~held, held)
    )
    return Shard(train, holdout)


def examples_of(
    task: str, table: Table, rows: NDArray[np.int64], outputs: Outputs, place: str, settings: DataSettings
) -> Examples:
    """Rows as examples, with whose they are where that is asked for."""
    found = task_of(task).examples(table, rows, outputs, place, settings.max_length)
    if table.persons is None:
        return found
    return replace(found, persons=np.unique(table.persons[rows], return_inverse=True)[1].astype(np.int64))


@lru_cache(maxsize=1)
def own_digests(settings: DataSettings, task: str) -> Digests:
    """Of a node's own examples, by which their ledger knows them.

    Of all of them, also of those whose labels a run leaves out: a server that names other labels finds the same ledger.
    """
    data = own_dataset(settings, task)
    users = [(user,) for user in data.table.users if user]
    examples = digests_of((data.whole(i) for i in range(len(data.table))), node_secret(), "example")
    return united(examples, digests_of(users, node_secret(), "person"))


@lru_cache(maxsize=1)
def partition(settings: DataSettings, seed: int, task: str, clients: int) -> Partition:
    """Who has which rows."""
    return Partition(dataset(settings, seed, task)[0], settings, clients, seed)


@lru_cache(maxsize=1)
def shared(settings: DataSettings, seed: int, task: str, clients: int, place: str, run: int) -> Shared | None:
    """All clients' examples as the workers of a simulation share them: the first that asks makes the file.

    A worker that finds it reads no text. None where this is no worker of a simulation, and where nothing can be
    written: then every worker keeps what its clients need in its own memory.
    """
    if not simulated():
        return None
    asked = repr((settings, seed, task, clients, place, stamp(settings)))
    folder = home() / "tokens"
    path = folder / f"{run}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if (found := read(path, clients)) is None:
            with locked(folder / "lock"):
                if (found := read(path, clients)) is None:
                    _, outputs = dataset(settings, seed, task)
                    write(path, outputs, (tokenised(settings, seed, task, clients, i, place) for i in range(clients)))
                    found = read(path, clients)
    except (OSError, SafetensorError) as error:
        log(WARNING, "workers share no tokenised texts: %s", error)
        return None
    for cached in (dataset, partition):  # the texts are not needed any more
        cached.cache_clear()
    return found


def simulated() -> bool:
    """Whether this is a worker of a simulation, one of those that run all clients in turn: they are Ray's."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@lru_cache(maxsize=4096)
def shard(settings: DataSettings, seed: int, task: str, clients: int, client: int, place: str) -> Shard:
    """One client's examples, tokenised once."""
    return tokenised(settings, seed, task, clients, client, place)


def tokenised(settings: DataSettings, seed: int, task: str, clients: int, client: int, place: str) -> Shard:
    """One client's examples."""
    table, outputs = dataset(settings, seed, task)
    rows = partition(settings, seed, task, clients).shard(client)
    train, holdout = (examples_of(task, table, which, outputs, place, settings) for which in (rows.train, rows.holdout))
    return Shard(train, holdout)


_stamps: dict[DataSettings, tuple[tuple[int, int], ...]] = {}


def refresh(settings: DataSettings) -> None:
    """Forget the data if its files have changed since they were read: a resident trainer outlives runs."""
    now = stamp(settings)
    if _stamps.get(settings, now) != now:
        for cached in (dataset, partition, shard, shared, own_dataset, own_shard, own_digests):
            cached.cache_clear()
    _stamps[settings] = now


@lru_cache(maxsize=1)
def layout(shape: Shape) -> Layout:
    """From the model's configuration alone: no weight is read."""
    return build(shape, meta=True).layout


@lru_cache(maxsize=1)
def model(shape: Shape) -> LoraModel:
    """The model, on the device, shared by all clients that this process runs."""
    return build(shape).to(pick_device())


@lru_cache(maxsize=1)
def first_parts(shape: Shape, descriptions: tuple[str, ...], length: int) -> Parts:
    """Every part's first values. Callers copy before they change."""
    found = model(shape)
    texts = [ids.tolist() for ids in tokenise(descriptions, shape.place, length)]
    return found.initial_parts(found.layout, texts, pad_id(shape.place))
