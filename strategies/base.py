"""What the federated LoRA methods have in common, on Flower's `Strategy`.

A method says two things: the plan it makes for a client and a round, and how it merges what
comes back. Everything else is here: sampling, messages, the checks that a reply must pass, the
count of bytes. A strategy works under Bract's own rounds and under Flower's `start` alike.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import ceil, fsum

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from bract import messages
from bract.codec import Codec
from bract.errors import BractError
from bract.layout import Part, Parts
from bract.payload import Payload, pack, unpack
from bract.plan import Plan
from strategies.federation import ClientRow, Federation, Member, reason, to_arrays, to_parts
from strategies.merge import WeightedMean

INFO, WARNING = 20, 30
MAX_EXAMPLES = 10**9  # keeps sums exact; it does not stop a client from claiming more than it has


class FederatedLora(Strategy):
    """A federated LoRA method. Subclasses give `plan`, and `merger` where it is no mean.

    `rows` holds what became of every client in the last round of training.
    """

    weights = "examples"  # the method's own choice, taken where the setting is auto

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.rows: list[ClientRow] = []
        self._arrays: Parts = {}
        self._sent: dict[int, tuple[Message, Member, Plan]] = {}
        self._measuring: list[tuple[Message, Member]] = []
        self._packed: dict[tuple[Part, ...], ArrayRecord] = {}
        # Called with (client's partition, answered so far, sampled) as replies are taken in.
        self.on_reply: Callable[[int, int, int], None] = lambda partition, done, total: None

    @abstractmethod
    def plan(self, server_round: int, member: Member) -> Plan:
        """What this member does in this round."""

    def merger(self, plan: Plan) -> WeightedMean:
        """Where the replies to such plans are merged."""
        return WeightedMean({part: self.federation.layout.size(part) for part in plan.sends})

    def factors(self, server_round: int, *parts: Part) -> Plan:
        """A plan that trains these factors and shares them, with the head as the run has it."""
        head: tuple[Part, ...] = ("head",) if self.federation.layout.head else ()
        shared = head if self.federation.head == "shared" else ()
        local = head if self.federation.head == "local" else ()
        return Plan(
            round=server_round,
            federation=self.federation.name,
            trains=(*parts, *shared, *local),
            sends=(*parts, *shared),
            receives=(*parts, *shared),
            keeps=local,
        )

    # -- Training ---------------------------------------------------------------------------

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each sampled member. `config` is not used: plans say it all."""
        self._arrays, self._packed, self._sent = to_parts(arrays), {}, {}
        for member in self.sample(server_round):
            plan = self.plan(server_round, member)
            message = self._message(plan, member, messages.TRAIN)
            self._sent[member.partition] = (message, member, plan)
        return [message for message, _, _ in self._sent.values()]

    def sample(self, server_round: int) -> list[Member]:
        """The round's members: a pure function of seed, round and the partitions that joined."""
        members = sorted(self.federation.members)
        count = max(1, round(self.federation.fraction * len(members)))
        rng = np.random.default_rng([self.federation.seed, 3, server_round])
        return [members[i] for i in sorted(rng.choice(len(members), size=count, replace=False))]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check and merge replies one by one, as they come; refuse bad ones by name.

        Guaranteed: the result does not depend on the order of the replies; no reply counts
        twice; one that is refused changes nothing. Raises if fewer than the quorum answered.
        """
        waiting = {m.metadata.message_id: partition for partition, (m, _, _) in self._sent.items()}
        rows = {partition: self._row(server_round, partition) for partition in self._sent}
        merge: WeightedMean | None = None
        for reply in replies:
            partition = waiting.pop(reply.metadata.reply_to_message_id, None)
            if partition is None:
                log(WARNING, "a reply that this round did not ask for was put aside")
                continue
            plan, row = self._sent[partition][2], rows[partition]
            merge = merge or self.merger(plan)
            try:
                self._take(reply, plan, row, merge)
            except BractError as error:
                row.status, row.reason = "refused", str(error)
            except Exception as error:
                row.status, row.reason = "refused", f"malformed reply ({type(error).__name__})"
            if row.status in ("failed", "refused"):
                log(WARNING, "client %s %s: %s", partition, row.status, row.reason)
            self.on_reply(partition, len(rows) - len(waiting), len(rows))
        for partition in waiting.values():
            log(WARNING, "client %s failed: %s", partition, rows[partition].reason)
        self.rows = [rows[partition] for partition in sorted(rows)]
        self._require_quorum(server_round)
        if merge is None or not any(row.status == "merged" for row in self.rows):
            return None, self._metrics()
        self._arrays = {**self._arrays, **merge.result()}
        return to_arrays(self._arrays), self._metrics()

    def _row(self, server_round: int, partition: int) -> ClientRow:
        message, _, plan = self._sent[partition]
        return ClientRow(
            server_round, partition, "failed", "no reply by the deadline",
            download_bytes=messages.payload_bytes(message),
            download_values=sum(self.federation.layout.size(part) for part in plan.receives),
        )  # fmt: skip

    def _take(self, reply: Message, plan: Plan, row: ClientRow, merge: WeightedMean) -> None:
        if reply.has_error():
            row.status = "failed"
            row.reason = reason(reply)
            return
        row.upload_bytes = messages.payload_bytes(reply)
        status, why = messages.report(reply.content)
        if status == "abstained":
            row.status, row.reason = "abstained", why
            return
        data = messages.get_payload(reply.content)
        payload = unpack(self.federation.layout, data, round=plan.round, parts=plan.sends)
        asked = None if plan.slots is None else list(plan.slots)
        got = None if payload.slots is None else payload.slots.tolist()
        if asked != got:
            raise BractError("the payload's slots are not those of the plan")
        row.examples = messages.count(reply.content, "examples", MAX_EXAMPLES)
        row.steps = messages.count(reply.content, "steps")
        row.loss = messages.metric(reply.content, "loss")
        row.seconds = messages.metric(reply.content, "seconds")
        row.busy = messages.metric(reply.content, "busy")
        row.upload_values = payload.values
        merge.add(self.weigh(row, payload), payload)
        row.status, row.reason = "merged", ""

    def weigh(self, row: ClientRow, payload: Payload) -> float:
        """The client's weight in the mean."""
        kind = self.weights if self.federation.weights == "auto" else self.federation.weights
        if not row.examples:
            raise BractError("the reply claims to have learned from no examples")
        return float(row.examples) if kind == "examples" else 1.0

    def _require_quorum(self, server_round: int) -> None:
        answered = [row for row in self.rows if row.status in ("merged", "abstained")]
        needed = max(1, ceil(self.federation.quorum * len(self.rows)))
        if len(answered) < needed:
            lost = [f"client {r.partition}: {r.reason}" for r in self.rows if r not in answered]
            raise BractError(
                f"round {server_round}: {len(answered)} of {len(self.rows)} clients answered, "
                f"federation.quorum asks for {needed}; {'; '.join(lost[:3])}"
            )

    def _metrics(self) -> MetricRecord:
        merged = [row for row in self.rows if row.status == "merged"]
        examples = sum(row.examples for row in merged)
        return MetricRecord(
            {
                "clients": len(merged),
                "failed": sum(row.status in ("failed", "refused") for row in self.rows),
                "abstained": sum(row.status == "abstained" for row in self.rows),
                "loss": fsum(row.loss * row.examples for row in merged) / max(examples, 1),
                "upload_bytes": sum(row.upload_bytes for row in self.rows),
                "download_bytes": sum(row.download_bytes for row in self.rows),
                "upload_values": sum(row.upload_values for row in self.rows),
            }
        )

    # -- Measuring --------------------------------------------------------------------------

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for every member: all that joined measure, also those not sampled.

        In float32 whatever the codec: what is measured is what is exported.
        """
        self._arrays, self._packed, self._measuring = to_parts(arrays), {}, []
        for member in sorted(self.federation.members):
            plan = replace(self.plan(server_round, member), trains=(), sends=(), slots=None)
            self._measuring.append((self._message(plan, member, messages.EVALUATE, "float32"), member))
        return [message for message, _ in self._measuring]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord:
        """Accuracy and mean loss over all held-out examples of the clients that answered.

        `partitions`, `correct` and `counts` give each client's figures, in order. Where nobody held
        anything out there is no accuracy, but what was sent down for it is still counted.
        """
        waiting = {m.metadata.message_id: member.partition for m, member in self._measuring}
        found: list[tuple[int, int, int, float]] = []
        for reply in replies:
            partition = waiting.pop(reply.metadata.reply_to_message_id, None)
            if partition is None:
                continue
            try:
                figures = self._figures(reply)
            except Exception as error:
                why = str(error) if isinstance(error, BractError) else f"malformed ({type(error).__name__})"
                log(WARNING, "client %s could not measure: %s", partition, why)
                continue
            if figures:
                found.append((partition, *figures))
        sent = sum(messages.payload_bytes(m) for m, _ in self._measuring)
        if not found:
            return MetricRecord({"download_bytes": sent})
        found.sort()
        partitions, correct, counts, losses = (list(column) for column in zip(*found, strict=True))
        examples = sum(counts)
        return MetricRecord(
            {
                "accuracy": sum(correct) / examples,
                "loss": fsum(losses) / examples,
                "examples": examples,
                "download_bytes": sent,
                "partitions": partitions,
                "correct": correct,
                "counts": counts,
            }
        )

    def _figures(self, reply: Message) -> tuple[int, int, float] | None:
        """Right answers, examples and summed loss of one client; None if it abstained."""
        if reply.has_error():
            raise BractError(reason(reply))
        if messages.report(reply.content)[0] == "abstained":
            return None
        examples = messages.count(reply.content, "examples", MAX_EXAMPLES)
        correct = messages.count(reply.content, "correct", examples)
        if not examples:
            raise BractError("it measured no examples and did not abstain")
        return correct, examples, messages.metric(reply.content, "loss", 1e6 * examples)

    def summary(self) -> None:
        """Log what this strategy is."""
        log(INFO, "\t├──> %s: %s slots, head %s", type(self).__name__, self.federation.layout.slots,
            self.federation.head)  # fmt: skip

    # -- Messages ---------------------------------------------------------------------------

    def _message(self, plan: Plan, member: Member, kind: str, codec: Codec | None = None) -> Message:
        """A message for one member; those who receive the same share one packed array."""
        if plan.receives not in self._packed:
            parts: Parts = {part: self._arrays[part] for part in plan.receives}
            rng = np.random.default_rng([self.federation.seed, 4, plan.round])
            payload = Payload(plan.round, parts)
            data = pack(self.federation.layout, payload, codec or self.federation.codec, rng)
            self._packed[plan.receives] = messages.payload_record(data)
        content = RecordDict({messages.PLAN: plan.to_record(), messages.PAYLOAD: self._packed[plan.receives]})
        return Message(content, dst_node_id=member.node, message_type=kind)
