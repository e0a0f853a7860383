"""Which examples each client has: flwr-datasets' partitioners, the same for the same seed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bract.data.tables import natural_column
from bract.errors import BractError
from bract.settings.schema import DataSettings
from bract.tasks.task import Table

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """One client's rows of the table: those it trains on, and those it holds out."""

    train: Rows
    holdout: Rows


@dataclass(frozen=True)
class Partition:
    """A table split over `clients`. No row belongs to two, and no person where it is known whose rows are.

    Every row has a client, but for `pathological`: labels that no client was given are left out.
    """

    table: Table
    settings: DataSettings
    clients: int
    seed: int

    @cached_property
    def rows(self) -> list[Rows]:
        """Each client's rows, in file order. A client may have few, or none."""
        column = natural_column(self.settings)
        firsts = self._firsts
        dealt = self._natural(firsts) if column else self._drawn(firsts, self.seed)
        return [self._whole(rows) for rows in dealt]

    def shard(self, client: int) -> Shard:
        """A client's rows, split by `data.holdout`.

        `own`: a random part of the client's rows is held out, so it has the client's own mix of labels;
        fewer than two rows are not split. `independent`: that share of the whole table is held out, and both parts are
        split over the clients by the same rule, each by its own draw.
        """
        if self.settings.holdout_mix == "independent":
            train, holdout = self._apart
            return Shard(train=train[client], holdout=holdout[client])
        rows = np.intersect1d(self.rows[client], self._firsts)
        order = np.random.default_rng([self.seed, 1, client]).permutation(rows)
        held = round(len(rows) * self.settings.holdout) if len(rows) > 1 else 0
        return Shard(train=self._whole(np.sort(order[held:])), holdout=self._whole(np.sort(order[:held])))

    @cached_property
    def _firsts(self) -> Rows:
        """Each person's first row, by which all of its rows are dealt out and held out; else every row."""
        if self.table.persons is None:
            return np.arange(len(self.table))
        return np.sort(np.unique(self.table.persons, return_index=True)[1])

    def _whole(self, firsts: Rows) -> Rows:
        """All rows of the persons whose first rows these are."""
        if self.table.persons is None:
            return firsts
        return np.flatnonzero(np.isin(self.table.persons, self.table.persons[firsts])).astype(np.int64)

    @cached_property
    def _apart(self) -> tuple[list[Rows], list[Rows]]:
        if natural_column(self.settings):
            raise BractError(
                "data.holdout-mix = 'independent' needs a split that is drawn: set data.partition to iid, "
                "dirichlet:0.1 or pathological:2"
            )
        order = np.random.default_rng([self.seed, 1]).permutation(self._firsts)
        held = round(len(order) * self.settings.holdout)
        train = self._drawn(np.sort(order[held:]), self.seed)
        holdout = [order[:0]] * self.clients
        if held:
            holdout = self._drawn(np.sort(order[:held]), self.seed + 1, "data.holdout: ")
        return [self._whole(rows) for rows in train], [self._whole(rows) for rows in holdout]

    def _natural(self, firsts: Rows) -> list[Rows]:
        """One natural group a client; groups beyond the clients are dealt out again in turn."""
        groups = sorted(set(self.table.group))
        if len(groups) < self.clients:
            raise BractError(
                f"data.partition: {len(groups)} groups cannot be split over {self.clients} clients; "
                f"use at most {len(groups)} nodes"
            )
        owner = {group: i % self.clients for i, group in enumerate(groups)}
        owners = np.array([owner[self.table.group[i]] for i in firsts])
        return [firsts[owners == client].astype(np.int64) for client in range(self.clients)]

    def _drawn(self, rows: Rows, seed: int, what: str = "") -> list[Rows]:
        from datasets import Dataset
        from flwr_datasets import partitioner as flower

        kind, _, number = self.settings.partition.partition(":")
        if len(rows) < self.clients:
            records = "examples" if self.table.persons is None else "persons"
            raise BractError(f"{what}{len(rows)} {records} cannot be split over {self.clients} clients")
        label = "label"
        if kind not in ("auto", "iid") and not self.table.classes:
            raise BractError(f"data.partition = {self.settings.partition!r}: these examples have no labels to split by")
        if kind in ("auto", "iid"):
            # The IID partitioner deals out runs of the file: so the rows are shuffled first.
            drawn = flower.IidPartitioner(num_partitions=self.clients)
        elif kind == "dirichlet":
            drawn = flower.DirichletPartitioner(
                num_partitions=self.clients,
                partition_by=label,
                alpha=float(number),
                min_partition_size=0,
                self_balancing=False,
                seed=seed,
            )
        else:
            classes = len({self.table.classes[i] for i in rows})
            if int(number) > classes:
                raise BractError(f"data.partition: {number} labels a client, the data has {classes}")
            drawn = flower.PathologicalPartitioner(
                num_partitions=self.clients,
                partition_by=label,
                num_classes_per_partition=int(number),
                class_assignment_mode="first-deterministic",
                seed=seed,
            )
        order = np.random.default_rng([seed, 0]).permutation(rows)
        labels = [self.table.classes[i] for i in order] if self.table.classes else [""] * len(order)
        drawn.dataset = Dataset.from_dict({"row": order, label: labels})
        return [
            np.sort(np.array(drawn.load_partition(client)["row"], dtype=np.int64)) for client in range(self.clients)
        ]
