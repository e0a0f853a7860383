"""Who a client is: what its node's operator and the run's settings make of it, and what it has to train."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from flwr.app import Context

from bract.adapter.layout import Layout, Parts
from bract.data.tables import identity
from bract.errors import BractError
from bract.models import base_model, lora_model
from bract.privacy.spending import Limit
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.tasks.task import Outputs, Task
from client_app import policy
from client_app.data import cache
from client_app.data.shards import Shard, Shared
from client_app.privacy.budget import Account


@dataclass(frozen=True)
class Client:
    """A client as its node's configuration and the run's settings describe it."""

    settings: Settings
    partition: int
    clients: int
    rank: float | None = None  # what this device can carry, where its node's configuration says it
    limit: Limit | None = None  # what may be spent of its data's privacy, ever, where its operator says so
    own: bool = False  # whether its data is all its own, and not a part of what all have
    run: int = 0  # Flower's number of it

    @staticmethod
    def of(context: Context) -> "Client":
        """The client that this node is."""
        try:
            partition = int(context.node_config["partition-id"])
            clients = int(context.node_config["num-partitions"])
        except (KeyError, ValueError) as error:
            raise BractError(
                "the node's configuration should hold partition-id and num-partitions: "
                '--node-config "partition-id=0 num-partitions=2"'
            ) from error
        if not 0 <= partition < clients:
            raise BractError(f"partition-id={partition} should be from 0 to {clients - 1}")
        config, wanted = context.node_config, read(context.run_config)
        settings, own = replace(wanted, data=policy.data(config, wanted.data)), wanted.data.source == "node"
        return Client(settings, partition, clients, policy.rank(config), policy.limit(config), own, context.run_id)

    @cached_property
    def shape(self) -> lora_model.Shape:
        """The model's architecture."""
        return lora_model.shape(self.settings, self.outputs.size, self.task.auto_class)

    @property
    def task(self) -> Task:
        """What the model is trained for."""
        return task_of(self.settings.model.task)

    @cached_property
    def outputs(self) -> Outputs:
        """What the head is to give."""
        data, seed = self.settings.data, self.settings.seed
        if self._shared is not None:
            return self._shared.outputs
        if not self.own:
            return cache.dataset(data, seed, self.task.name)[1]
        with policy.unnamed(data):
            return cache.dataset(data, seed, self.task.name)[1]

    @cached_property
    def layout(self) -> Layout:
        """The adapter's layout."""
        return cache.layout(self.shape)

    @cached_property
    def shard(self) -> Shard:
        """The client's examples."""
        if self._shared is not None:
            return self._shared.shards[self.partition]
        clients, client = (1, 0) if self.own else (self.clients, self.partition)
        return cache.shard(self.settings.data, self.settings.seed, self.task.name, clients, client, self.shape.place)

    @cached_property
    def _shared(self) -> Shared | None:
        if self.own:
            return None
        place = base_model.locate(self.settings.model.name)
        data, seed, task = self.settings.data, self.settings.seed, self.task.name
        return cache.shared(data, seed, task, self.clients, place, self.run)

    @property
    def private(self) -> bool:
        """Whether each of its examples is protected."""
        return self.settings.privacy.unit == "example"

    @property
    def account(self) -> Account:
        """Whose budget it spends."""
        return Account(self.settings, identity(self.settings.data), self.partition, len(self.shard.train), self.limit)

    def model(self) -> lora_model.LoraModel:
        """The worker's model, which all clients that it runs share."""
        return cache.model(self.shape)

    def first(self) -> Parts:
        """Every part's first values. Copy before a change."""
        return cache.first_parts(self.shape, self.outputs.descriptions, self.settings.data.max_length)

    def rng(self, round_: int, stream: int = 0) -> np.random.Generator:
        """A round's own random numbers; each stream is apart."""
        return np.random.default_rng([self.settings.seed, 2, round_, self.partition, stream])
