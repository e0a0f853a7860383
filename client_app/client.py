"""Who a client is: what its node's operator and the run's settings make of it, and what it has to train."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flwr.app import Context

from bract.adapter.layout import Layout, Parts
from bract.data.tables import identity
from bract.errors import PublicError, public
from bract.models import base_model, lora_model
from bract.privacy.spending import Limit
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.tasks.task import Examples, Outputs, Task
from client_app.data import cache
from client_app.data.holdout import split_name
from client_app.data.shards import Shard, Shared
from client_app.policy.judge import applied, measuring_of, policy_for, require_allowed, server_name
from client_app.policy.policy import Policy
from client_app.policy.reading import limit_of, rank
from client_app.privacy.body import Body
from client_app.privacy.budget import Account


@dataclass(frozen=True)
class Client:
    """A client as its node's configuration and the run's settings describe it."""

    settings: Settings
    partition: int
    clients: int
    rank: float | None = None  # what this device can carry, where its node's configuration says it
    limit: Limit | None = None  # what may be spent of its data's privacy, ever, where its operator says so
    policy: Policy | None = None  # its operator's word, where its data is all its own; None in a simulation
    run: int = 0  # Flower's number of it

    @staticmethod
    def of(context: Context) -> "Client":
        """The client that this node is."""
        try:
            partition = int(context.node_config["partition-id"])
            clients = int(context.node_config["num-partitions"])
        except (KeyError, ValueError) as error:
            raise PublicError(
                "the node's configuration should hold partition-id and num-partitions: "
                '--node-config "partition-id=0 num-partitions=2"'
            ) from error
        if not 0 <= partition < clients:
            raise PublicError(f"partition-id={partition} should be from 0 to {clients - 1}")
        config = context.node_config
        with public():
            settings = read(context.run_config)
        policy = policy_for(config, settings)
        if policy is not None:
            require_allowed(policy, settings)
            settings = applied(policy, settings)
        limit = limit_of(config, policy, settings.privacy.unit)
        return Client(settings, partition, clients, rank(config), limit, policy, context.run_id)

    @property
    def own(self) -> bool:
        """Whether its data is all its own, and not a part of what all have."""
        return self.policy is not None

    @cached_property
    def shape(self) -> lora_model.Shape:
        """The model's architecture; at a node with a policy, of a base model that its operator knows."""
        shape = lora_model.shape(self.settings, self.outputs.size, self.task.auto_class)
        name = self.settings.model.name
        if self.policy is not None and base_model.fingerprint(shape.place) != self.policy.allow.models[name]:
            raise PublicError(f"model.name = {name!r}: its weights at this node are not those that its policy allows")
        return shape

    @property
    def task(self) -> Task:
        """What the model is trained for."""
        return task_of(self.settings.model.task)

    @cached_property
    def outputs(self) -> Outputs:
        """What the head is to give."""
        if self.own:
            return cache.own_dataset(self.settings.data, self.task.name).outputs
        if self._shared is not None:
            return self._shared.outputs
        return cache.dataset(self.settings.data, self.settings.seed, self.task.name)[1]

    @cached_property
    def layout(self) -> Layout:
        """The adapter's layout."""
        return cache.layout(self.shape)

    @cached_property
    def shard(self) -> Shard:
        """The client's examples."""
        data, task, place = self.settings.data, self.task.name, self.shape.place
        if self.own:
            return cache.own_shard(data, task, place)
        if self._shared is not None:
            return self._shared.shards[self.partition]
        return cache.shard(data, self.settings.seed, task, self.clients, self.partition, place)

    @property
    def records(self) -> int:
        """How many examples, or persons, it trains on, as far as that is public: its mechanism is made for so many.

        At a node: by the operator's number, else by the rows of its file, used or not, and the share that is held out.
        So none can be told from it, neither by what is in it nor by its being held out.
        """
        return self._counted(self.shard.train, lambda holdout: 1 - holdout)

    @property
    def held(self) -> int:
        """How many it holds out, in the same way."""
        return self._counted(self.shard.holdout, lambda holdout: holdout)

    def _counted(self, examples: Examples, share: Callable[[float], float]) -> int:
        persons = self.settings.privacy.unit == "person"
        if self.policy is None or not self.private:
            return len(np.unique(examples.whose)) if persons else len(examples)
        own, data = self.policy.data, cache.own_dataset(self.settings.data, self.task.name)
        public = (own.persons or data.persons) if persons else (own.examples or data.total)
        return round(public * share(own.holdout))

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
        return self.settings.privacy.by_clients

    @property
    def measuring(self) -> str:
        """What it tells of held-out examples: `exact`, `noisy` or `nothing`."""
        return measuring_of(self.policy, self.settings)

    @property
    def tells_time(self) -> bool:
        """Whether its replies say how long they took, which depends on what was drawn."""
        if self.settings.federation.sum != "plain":
            return False
        if self.policy is None:
            return not self.private or self.settings.privacy.share_metrics
        return self.policy.privacy.timing == "server"

    @property
    def account(self) -> Account:
        """Whose budget it spends."""
        source = identity(self.settings.data)
        if self.policy is None:
            return Account(self.settings, Body(source, self.partition), self.records, self.held, self.limit)
        own = self.policy.data
        digests = cache.own_digests(self.settings.data, self.task.name)
        return Account(
            self.settings,
            Body(source, self.partition, own.name, digests, own=True),
            self.records,
            self.held,
            self.limit,
            split_name(own.holdout, [self.task.name, *self.task.columns(self.settings.data).values(), own.user]),
            server_name(),
            self.policy.privacy.largest_delta,
        )

    def model(self) -> lora_model.LoraModel:
        """The worker's model, which all clients that it runs share."""
        return cache.model(self.shape)

    def first(self) -> Parts:
        """Every part's first values. Copy before a change."""
        return cache.first_parts(self.shape, self.outputs.descriptions, self.settings.data.max_length)

    def rng(self, round_: int, stream: int = 0) -> np.random.Generator:
        """A round's own random numbers; each stream is apart."""
        return np.random.default_rng([self.settings.seed, 2, round_, self.partition, stream])
