"""One client's turn: from a message's content to the reply's."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, MetricRecord, RecordDict
from numpy.typing import NDArray

import bract
from bract.adapter.layout import PARTS, Layout, Parts
from bract.data.tables import LabelSet, identity
from bract.errors import BractError
from bract.models import base_model, lora_model
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.settings.steps import probe_steps, steps_of
from bract.tasks.classification import measure, pad_id
from bract.wire.messages import METRICS, PAYLOAD, PLAN, REPORT, get_payload, payload_record
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan, Prune, Select
from client_app import personal, policy, prune
from client_app import select as scoring
from client_app.data import cache
from client_app.data.shards import Shard, Shared
from client_app.engine.independence import require_apart
from client_app.penalty import penalty_of
from client_app.privacy.budget import Account, abstained
from client_app.privacy.ledger import Limit
from client_app.state import ClientState, Kept
from client_app.training.loop import Private, Trained, train

Slots = NDArray[np.int64]


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
        return lora_model.shape(self.settings, len(self.labels.names))

    @cached_property
    def labels(self) -> LabelSet:
        """The classes."""
        data, seed = self.settings.data, self.settings.seed
        if self._shared is not None:
            return self._shared.labels
        return policy.labels(data, seed) if self.own else cache.dataset(data, seed)[1]

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
        return cache.shard(self.settings.data, self.settings.seed, clients, client, self.shape.place)

    @cached_property
    def _shared(self) -> Shared | None:
        place = base_model.locate(self.settings.model.name)
        return None if self.own else cache.shared(self.settings.data, self.settings.seed, self.clients, place, self.run)

    def card(self) -> dict[str, Any]:
        """What the server compares before any training."""
        return {
            "partition": self.partition,
            "partitions": self.clients,
            "rank": self.rank,
            "version": bract.__version__,
            "base": base_model.fingerprint(self.shape.place),
            "layout": self.layout.to_json(),
            "labels": list(self.labels.names),
            "descriptions": self.labels.digest,
            "pooling": self.shape.pooling,
            "head_init": self.shape.head_init,
        }

    def head(self) -> RecordDict:
        """The head's first values, packed as round 0."""
        parts: Parts = {"head": self._first()["head"]}
        return RecordDict({PAYLOAD: payload_record(pack(self.layout, Payload(0, parts)))})

    def train(self, content: RecordDict) -> RecordDict:
        """Lay in, train, keep what stays, reply with what travels."""
        plan = Plan.from_record(content[PLAN], self.layout.slots)
        self._same_rank(plan)
        if not plan.trains:
            raise BractError("the plan trains nothing")
        if not len(self.shard.train):
            return abstained("it has no examples to train on")
        if self.limit is not None and self.settings.privacy.unit != "example":
            unit = self.settings.privacy.unit
            return abstained(f"its node has a privacy-limit, and this run has privacy.unit = {unit}, not example")
        if not plan.keeps and plan.prune is None:
            return self._turned(plan, content)
        with ClientState(plan.federation, self.partition).alone():
            return self._turned(plan, content)

    def _turned(self, plan: Plan, content: RecordDict) -> RecordDict:
        # Before the ledger is asked: a bad payload or lost state is an error that costs nothing.
        net, slots = self._laid_in(plan, content, self._kept(plan, plan.round))
        if self.settings.privacy.unit == "example":
            require_apart(net, pad=pad_id(self.shape.place))
            return self._account().turn(plan, content, lambda private: self._turn(plan, net, slots, private))
        return self._turn(plan, net, slots, None)

    def _turn(self, plan: Plan, net: lora_model.Classifier, slots: Slots | None, private: Private | None) -> RecordDict:
        """Train what is laid in, keep what stays, and make the reply."""
        before: Parts = {part: net.get(part) for part in PARTS if part != "head" or self.layout.head}
        probe, left = self._steps(plan, private)
        if plan.select is not None and not plan.select.probes:
            slots = scoring.best(scoring.standing(self.layout, before), plan.select.count, slots)
        elif plan.select is not None:
            slots = self._selected(net, plan, plan.select, before, slots, probe, private)
        trained = self.trained(net, plan, slots, left, private, penalty=penalty_of(self.layout, plan, slots))
        after: Parts = {part: net.get(part) for part in {*plan.trains, *plan.sends, *plan.keeps}}
        for part, vector in after.items():
            if not np.isfinite(vector).all():
                raise BractError(f"training diverged: {part} is no longer finite; try a smaller train.lr")
        if plan.prune is not None and slots is not None:  # a plan that prunes names its slots
            slots = self._pruned(plan.prune, slots, before, after)
        if plan.keeps or plan.prune is not None:
            rank = None if plan.prune is None or slots is None else len(slots) // len(self.layout.modules)
            state = ClientState(plan.federation, self.partition)
            state.save(self.layout, plan.round, Kept({part: after[part] for part in plan.keeps}, rank))
        sent: Parts = {
            part: self.layout.cut(part, after[part] - before[part] if plan.changes else after[part], slots)
            for part in plan.sends
        }
        return self._reply(plan, sent, slots, trained)

    def _steps(self, plan: Plan, private: Private | None) -> tuple[int, int]:
        """Steps of the probe, and those that are left for training after it."""
        if private is not None:
            return private.mechanism.probe, private.mechanism.steps - private.mechanism.probe
        count = len(self.shard.train)
        steps, probe = steps_of(self.settings.train, count), probe_steps(self.settings.train, count)
        return probe, steps - (probe if plan.select is not None and plan.select.reuse else 0)

    def _account(self) -> Account:
        source = identity(self.settings.data)
        return Account(self.settings, source, self.partition, len(self.shard.train), self.limit)

    def _reply(self, plan: Plan, sent: Parts, slots: Slots | None, trained: Trained) -> RecordDict:
        """What leaves. Exact counts, losses and the head's share are the examples' own, and no noise is on them."""
        unit = self.settings.privacy.unit
        data = pack(self.layout, Payload(plan.round, sent, slots), self.settings.wire.codec, self.rng(plan.round, 1))
        metrics: dict[str, float] = {"steps": trained.steps, "seconds": trained.seconds}
        if unit == "none" or self.settings.privacy.share_metrics:
            metrics |= {"examples": trained.examples, "loss": trained.loss}
            if unit == "example":
                metrics["head_share"] = trained.head_share
        return RecordDict(
            {
                REPORT: ConfigRecord({"status": "done"}),
                PAYLOAD: payload_record(data),
                METRICS: MetricRecord(dict(metrics)),
            }
        )

    def trained(
        self,
        net: lora_model.Classifier,
        plan: Plan,
        slots: Slots | None,
        steps: int,
        private: Private | None,
        **more: Any,
    ) -> Trained:
        """Train the model in place on this client's examples, as a plan says."""
        rng = more.pop("rng", None) or self.rng(plan.round)
        return train(
            net, self.shard.train, self.settings.train, plan.trains, rng,
            pad=pad_id(self.shape.place), slots=slots, steps=steps, private=private, **more,
        )  # fmt: skip

    def _selected(
        self,
        net: lora_model.Classifier,
        plan: Plan,
        select: Select,
        before: Parts,
        slots: Slots | None,
        steps: int,
        private: Private | None,
    ) -> Slots:
        """Train unmasked for some steps and score what changed: the best slots.

        Everything is put back, or, where the probe is reused, everything but the best slots and the head.
        """
        (part,) = (part for part in plan.trains if part != "head")
        probe = self.trained(
            net, plan, slots, steps, private, rng=self.rng(plan.round, 2), gradients=select.score == "sensitivity"
        )
        probed = net.get(part)
        change, frozen = probed - before[part], before["A" if part == "B" else "B"]
        found = scoring.scores(self.layout, part, change, frozen, probe.gradients.get(part, change), select.score)
        if not np.isfinite(found).all():
            raise BractError(f"the probe diverged: {part} is no longer finite; try a smaller train.lr")
        chosen = scoring.best(found, select.count, slots)
        start = before[part].copy()
        if select.reuse:
            where = self.layout.positions(part, chosen)
            start[where] = probed[where]
        net.set(part, start, self.layout)
        if not select.reuse and "head" in plan.trains:
            net.set("head", before["head"], self.layout)
        return chosen

    def _pruned(self, rule: Prune, slots: Slots, before: Parts, after: Parts) -> Slots:
        """The slots that are left: without the tail, if training made it smaller."""
        rank = len(slots) // len(self.layout.modules)
        tail = prune.tail(self.layout, rank, rule)
        sizes = [prune.size(self.layout, parts["A"], parts["B"], tail) for parts in (before, after)]
        return self.layout.first(prune.kept_rank(rank, rule)) if sizes[1] < sizes[0] else slots

    def evaluate(self, content: RecordDict) -> RecordDict:
        """Measure the model that the plan describes on this client's held-out part."""
        plan = Plan.from_record(content[PLAN], self.layout.slots)
        self._same_rank(plan)
        kept = self._kept(plan, plan.round + 1)
        if kept.round and self.settings.privacy.unit == "example":
            self._account().require_answered(plan.federation, kept.round)
        net, _ = self._laid_in(plan, content, kept)
        measured = measure(net, self.shard.holdout) if len(self.shard.holdout) else None
        if plan.keeps and plan.round == self.settings.rounds:
            personal.export(self, net, plan, measured)  # what was measured before it is what the server hears of
        if measured is None:
            return abstained("it holds no examples out")
        metrics: dict[str, float] = {
            "examples": measured.examples, "correct": measured.correct, "loss": measured.loss,
        }  # fmt: skip
        return RecordDict({REPORT: ConfigRecord({"status": "done"}), METRICS: MetricRecord(dict(metrics))})

    def _kept(self, plan: Plan, before: int) -> Kept:
        """The client's own state before a round; that which the server has had a reply of must be there."""
        state = ClientState(plan.federation, self.partition)
        kept = state.load(self.layout, before)
        if (plan.keeps or plan.prune is not None) and kept.round < plan.joined:
            what = f"its own {' and '.join(plan.keeps)}" if plan.keeps else "its rank"
            raise BractError(
                f"client {self.partition}: {what} of round {plan.joined} should be under {state.folder} and is not; "
                "restore it, or start a new run"
            )
        return kept

    def _laid_in(self, plan: Plan, content: RecordDict, kept: Kept) -> tuple[lora_model.Classifier, Slots | None]:
        """The worker's model with this client's parts, and the slots that it carries (None: all).

        A part is what was received, else what was kept, else its first values; slots that the client does
        not carry are zero.
        """
        received = unpack(self.layout, get_payload(content), round=plan.round, parts=plan.receives)
        slots = None if plan.slots is None else np.array(plan.slots, dtype=np.int64)
        if not np.array_equal(received.slots if received.slots is not None else [-1], [-1] if slots is None else slots):
            raise BractError("the slots that came down are not those of the plan")
        first = None if slots is None else self.layout.first(len(slots) // len(self.layout.modules))
        if plan.prune is not None and not np.array_equal(slots, first):  # type: ignore[arg-type]  # it names its slots
            raise BractError("the plan prunes slots that are not the first ranks of every module")
        if plan.prune is not None and kept.rank is not None:
            carried = self.layout.first(kept.rank)
            slots = carried if slots is None else np.intersect1d(slots, carried)
        net = cache.classifier(self.shape)
        for part in PARTS:
            if part == "head" and not self.layout.head:
                continue
            vector = kept.parts.get(part) if part in plan.keeps else None
            if part in received.parts:
                vector = self.layout.whole(part, received.parts[part], received.slots)
            vector = self._first()[part] if vector is None else vector
            net.set(part, self.layout.whole(part, self.layout.cut(part, vector, slots), slots), self.layout)
        return net, slots

    def _same_rank(self, plan: Plan) -> None:
        if plan.rank != self.rank:
            now, then = ("none" if rank is None else f"{rank:g}" for rank in (self.rank, plan.rank))
            raise BractError(
                f"client {self.partition}: rank in its node's configuration is {now}, it joined this run with {then}; "
                "set it back, or start a new run"
            )

    def _first(self) -> Parts:
        return cache.first_parts(self.shape, self.labels.descriptions, self.settings.data.max_length)

    def rng(self, round_: int, stream: int = 0) -> np.random.Generator:
        """A round's own random numbers; each stream is apart."""
        return np.random.default_rng([self.settings.seed, 2, round_, self.partition, stream])
