"""One client's turn: from a message's content to the reply's."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, MetricRecord, RecordDict

import bract
from bract import base, model
from bract.errors import BractError
from bract.examples import measure, pad_id
from bract.layout import PARTS, Layout, Parts
from bract.messages import METRICS, PAYLOAD, PLAN, REPORT, get_payload, payload_record
from bract.payload import Payload, pack, unpack
from bract.plan import Plan
from bract.settings import Settings, read
from client_app import worker
from client_app.state import ClientState
from client_app.train import train


@dataclass(frozen=True)
class Client:
    """A client as its node's configuration and the run's settings describe it."""

    settings: Settings
    partition: int
    clients: int

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
        return Client(read(context.run_config), partition, clients)

    @cached_property
    def shape(self) -> model.Shape:
        """The model's architecture."""
        names = worker.dataset(self.settings.data, self.settings.seed)[1].names
        return model.shape(self.settings, len(names))

    @cached_property
    def layout(self) -> Layout:
        """The adapter's layout."""
        return worker.layout(self.shape)

    @cached_property
    def shard(self) -> worker.Shard:
        """The client's examples."""
        return worker.shard(self.settings.data, self.settings.seed, self.clients, self.partition, self.shape.place)

    def card(self) -> dict[str, Any]:
        """What the server compares before any training."""
        labels = worker.dataset(self.settings.data, self.settings.seed)[1]
        return {
            "partition": self.partition,
            "partitions": self.clients,
            "version": bract.__version__,
            "base": base.fingerprint(self.shape.place),
            "layout": self.layout.to_json(),
            "labels": list(labels.names),
            "descriptions": digest(labels.descriptions),
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
        if not len(self.shard.train):
            return _abstain("it has no examples to train on")
        state = ClientState(plan.federation, self.partition)
        net = self._laid_in(plan, content, state)
        slots = None if plan.slots is None else np.array(plan.slots, dtype=np.int64)
        trained = train(
            net, self.layout, self.shard.train, self.settings.train, plan.trains,
            self._rng(plan.round), pad=pad_id(self.shape.place), slots=slots,
        )  # fmt: skip
        parts: Parts = {part: net.get(part) for part in {*plan.sends, *plan.keeps}}
        for part, vector in parts.items():
            if not np.isfinite(vector).all():
                raise BractError(f"training diverged: {part} is no longer finite; try a smaller train.lr")
        if plan.keeps:
            state.save(self.layout, plan.round, {part: parts[part] for part in plan.keeps})
        sent: Parts = {
            part: parts[part] if slots is None or part == "head" else parts[part][self.layout.positions(part, slots)]
            for part in plan.sends
        }
        reply = RecordDict({REPORT: ConfigRecord({"status": "done"})})
        codec: Any = self.settings.wire.codec
        payload = Payload(plan.round, sent, slots)
        data = pack(self.layout, payload, codec, self._rng(plan.round, 1))
        reply[PAYLOAD] = payload_record(data)
        reply[METRICS] = MetricRecord(
            {
                "examples": trained.examples, "steps": trained.steps, "loss": trained.loss,
                "seconds": trained.seconds,
            }
        )  # fmt: skip
        return reply

    def evaluate(self, content: RecordDict) -> RecordDict:
        """Measure the model that the plan describes on this client's held-out part."""
        plan = Plan.from_record(content[PLAN], self.layout.slots)
        if not len(self.shard.holdout):
            return _abstain("it holds no examples out")
        net = self._laid_in(plan, content, ClientState(plan.federation, self.partition), after=True)
        measured = measure(net, self.shard.holdout)
        return RecordDict(
            {
                REPORT: ConfigRecord({"status": "done"}),
                METRICS: MetricRecord(
                    {
                        "examples": measured.examples, "correct": measured.correct,
                        "loss": measured.loss,
                    }
                ),
            }
        )  # fmt: skip

    def _laid_in(self, plan: Plan, content: RecordDict, state: ClientState, *, after: bool = False) -> model.Classifier:
        """The worker's model with this client's parts: received, else kept, else the first values."""
        received = unpack(self.layout, get_payload(content), round=plan.round, parts=plan.receives)
        if received.slots is not None:
            raise BractError("the payload that came down names slots; a client expects all of them")
        kept = state.load(self.layout, plan.round + after) if plan.keeps else {}
        net = worker.classifier(self.shape)
        for part in PARTS:
            if part == "head" and not self.layout.head:
                continue
            vector = received.parts.get(part)
            if vector is None and part in plan.keeps:
                vector = kept.get(part)
            net.set(part, self._first()[part] if vector is None else vector, self.layout)
        return net

    def _first(self) -> Parts:
        descriptions = worker.dataset(self.settings.data, self.settings.seed)[1].descriptions
        return worker.first_parts(self.shape, descriptions, self.settings.data.max_length)

    def _rng(self, round_: int, stream: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, 2, round_, self.partition, stream])


def digest(texts: Iterable[str]) -> str:
    """A short digest of texts, to compare without sending them."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def _abstain(reason: str) -> RecordDict:
    return RecordDict({REPORT: ConfigRecord({"status": "abstained", "reason": reason})})
