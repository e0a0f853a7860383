"""What the federated LoRA methods have in common, on Flower's `Strategy`.

A method says two things: the plan it makes for a client and a round, and how it merges what
comes back. Here are sampling, messages and the way of a round; what a reply must be is in `replies`, and who protects
the data in `protection`. A strategy works under Bract's own rounds and under Flower's `start` alike.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from bract.adapter.layout import FACTORS, Part, Parts
from bract.choices import Codec
from bract.directives.directive import Directive
from bract.directives.personal import PersonalPhase
from bract.errors import BractError
from bract.log import log
from bract.wire import messages
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan
from strategies.aggregation import LEAST_NORM, Merger, WeightedMean, product_norm
from strategies.diagnostics import Diagnostics
from strategies.federation import Federation, Member, to_arrays, to_parts
from strategies.measuring import measured
from strategies.protection import protection_of
from strategies.replies import (
    ClientRow,
    RoundReplies,
    note_figures,
    payload_of,
    reason,
    totals,
)
from strategies.sums import SumOfWords

INFO, WARNING = 20, 30


class FederatedLora(Strategy):
    """A federated LoRA method. Subclasses give `plan`, and `merger` where it is no mean.

    `rows` holds what became of every client in the last round of training, and `diagnostics` what
    the clients selected and learned, compared.
    """

    weights = "examples"  # the method's own, taken where the setting is auto
    one_by_one = False  # the next client's message depends on the last one's reply

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.protection = protection_of(federation)
        self.rows: list[ClientRow] = []
        self.diagnostics: dict[str, Any] = {}
        self._arrays: Parts = {}
        self.words: SumOfWords | None = None  # where the round's replies are words of a sum
        self._joined: dict[int, int] = {}  # by client: the last round of which its reply was merged
        self._measuring: list[tuple[Message, Member]] = []
        self._packed: dict[tuple[tuple[Part, ...], tuple[int, ...] | None], ArrayRecord] = {}
        # Called with (client's partition, answered so far, sampled) as replies are taken in.
        self.on_reply: Callable[[int, int, int], None] = lambda partition, done, total: None

    @abstractmethod
    def plan(self, server_round: int, member: Member) -> Plan:
        """What this member does in this round."""

    def merger(self, plan: Plan) -> Merger:
        """Where the replies to a round's plans, of which this is one, are merged."""
        return WeightedMean(self.federation.layout, plan.sends)

    def memory(self) -> dict[str, Any]:
        """What the strategy must not forget between rounds, beside the factors, as plain values for JSON."""
        joined = {str(partition): round_ for partition, round_ in sorted(self._joined.items())}
        return {"joined": joined, **self.protection.memory()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` gave when the run was stopped."""
        self.protection.recall(memory)
        self._joined = {int(partition): int(round_) for partition, round_ in memory.get("joined", {}).items()}

    def factors(self, server_round: int, member: Member, *parts: Part) -> Plan:
        """A plan that trains these factors and shares them, with the head as the run has it."""
        head: tuple[Part, ...] = ("head",) if self.federation.layout.head else ()
        shared = head if self.federation.head == "shared" else ()
        local = head if self.federation.head == "local" else ()
        steps = self.federation.strategy.personal_steps
        return Plan(
            round=server_round,
            federation=self.federation.name,
            trains=(*parts, *shared, *local),
            sends=(*parts, *shared),
            receives=(*parts, *shared),
            keeps=local,
            do=(PersonalPhase(steps),) if steps else (),
            rank=member.own,
            joined=self._joined.get(member.partition, 0),
        )

    def in_turn(self, server_round: int, member: Member) -> Plan:
        """B in odd rounds, A in even ones; the one that rests comes down too, as clients keep no copy.

        In round 1 A is still the draw from the seed, which everyone has.
        """
        plan = self.factors(server_round, member, "B" if server_round % 2 else "A")
        both: tuple[Part, ...] = ("B",) if server_round <= 1 else ("A", "B")
        return replace(plan, receives=(*both, *(part for part in plan.receives if part == "head")))

    def start(self, *args: Any, **options: Any) -> Result:
        """Flower's own rounds."""
        what = "clients that train one after the other" if self.one_by_one else self.protection.needs_own_rounds
        if what:
            raise BractError(f"{what}: needs Bract's own rounds, not Flower's start")
        return super().start(*args, **options)

    # -- Training ---------------------------------------------------------------------------

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message for each sampled member. `config` is not used: plans say it all.

        Where clients train one by one, each message is made when it is asked for, which must be after the
        last one's reply was taken in.
        """
        self._arrays, self._packed = to_parts(arrays), {}
        self._replies = RoundReplies(server_round, self.federation.layout)
        self._compared = Diagnostics(self.federation.layout, self._arrays, self.federation.seed)
        outgoing = self._outgoing(server_round)
        return outgoing if self.one_by_one else list(outgoing)

    def stands_at(self, parts: Parts) -> None:
        """What has been released so far, by which plans are made, where merging is not this strategy's."""
        self._arrays = dict(parts)

    def configure_sum(
        self, server_round: int, arrays: ArrayRecord, plans: Mapping[Member, Plan], record: Mapping[str, Any]
    ) -> list[Message]:
        """One message for each member of a sum, with what it needs to know of that."""
        self._arrays, self._packed = to_parts(arrays), {}
        self._replies = RoundReplies(server_round, self.federation.layout)
        self._compared = Diagnostics(self.federation.layout, self._arrays, self.federation.seed)
        found = []
        for member, plan in plans.items():
            message = self._message(plan, member, messages.TRAIN)
            message.content[messages.SUM] = ConfigRecord(dict(record))
            self._replies.ask(member.partition, message, plan)
            if plan.trains:
                self.protection.asked(member.partition)
            if record["measure"]:
                self.protection.asked_to_measure(member.partition)
            found.append(message)
        return found

    def _outgoing(self, server_round: int) -> Iterator[Message]:
        for member in self.sample(server_round):
            plan = self.plan(server_round, member)
            message = self._message(plan, member, messages.TRAIN)
            self._replies.ask(member.partition, message, plan)
            self.protection.asked(member.partition)
            yield message

    def sample(self, server_round: int) -> list[Member]:
        """The round's members, the same however often it is asked."""
        return self.protection.sample(server_round, self.federation)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check and merge replies one by one, as they come; refuse bad ones by name.

        Guaranteed: the result does not depend on the order of the replies; no reply counts
        twice; one that is refused changes nothing. Raises if fewer than the quorum answered.
        """
        total = len(self.federation.members if self.words is not None else self.sample(server_round))
        plan = self.plan(server_round, min(self.federation.members))
        merger = self.protection.merger(self.federation, plan, self._arrays, self.merger)
        for reply in replies:
            opened = self._replies.opened(reply)
            if opened is None:
                log(WARNING, "a reply that this round did not ask for was put aside")
                continue
            row, plan = opened
            self._take(reply, plan, row, merger)
            if row.status in ("failed", "refused"):
                log(WARNING, "client %s %s: %s", row.partition, row.status, row.reason)
            self.on_reply(row.partition, self._replies.answered, total)
        self.rows, lost = self._replies.closed()
        for row in lost:
            log(WARNING, "client %s failed: %s", row.partition, row.reason)
        self.diagnostics = self._compared.row(server_round)
        self._require_quorum(server_round)
        joined = {row.partition: server_round for row in self.rows if row.status == "merged"}
        self._joined |= joined
        if self.words is not None or (not joined and not self.protection.noisy):
            return None, totals(self.rows)
        self._arrays = {**self._arrays, **merger.result(self._arrays)}
        return to_arrays(self._arrays), totals(self.rows)

    def _take(self, reply: Message, plan: Plan, row: ClientRow, merger: Merger) -> None:
        """Merge one reply if it is right; its row says what became of it."""
        try:
            if reply.has_error():
                row.reason = reason(reply)
                return
            row.upload_bytes = messages.payload_bytes(reply)
            status, why = messages.report(reply.content)
            spending = messages.privacy_spending(reply.content)
            row.epsilon = self.protection.heard(row.partition, spending, trained=status == "done")
            if self.words is not None:
                self.protection.measured(row.partition, messages.privacy_spending(reply.content, messages.HOLDOUT))
            if status == "abstained":
                row.status, row.reason = "abstained", why
                return
            self._merge(reply.content, plan, row, merger)
        except BractError as error:
            row.status, row.reason = "refused", str(error)
        except Exception as error:
            row.status, row.reason = "refused", f"malformed reply ({type(error).__name__})"

    def _merge(self, content: RecordDict, plan: Plan, row: ClientRow, merger: Merger) -> None:
        if self.words is not None:
            self.words.take(messages.get_payload(content), messages.privacy_spending(content, messages.HOLDOUT))
            row.upload_values, row.status, row.reason = self.words.total.shape.values, "merged", ""
            return
        payload = payload_of(content, plan, self.federation.layout)
        if not self.slots_fit(plan, payload):
            raise BractError("the payload's slots are not those of the plan")
        note_figures(row, content, payload, counts=self.federation.counts)
        merger.add(row.partition, self.weigh(row, payload), payload)
        layout = self.federation.layout
        row.rank = (layout.slots if payload.slots is None else len(payload.slots)) / len(layout.modules)
        self._compared.add(row.partition, payload, changes=plan.changes)
        row.status, row.reason = "merged", ""
        self.taken(plan, payload)

    def taken(self, plan: Plan, payload: Payload) -> None:
        """Called after a reply was merged."""

    def slots_fit(self, plan: Plan, payload: Payload) -> bool:
        """Whether a reply carries the slots that the plan lets it carry."""
        deciding = next((directive for directive in plan.do if directive.decides_slots), Directive())
        return deciding.sent(self.federation.layout, plan.carried, payload.slots)

    def weigh(self, row: ClientRow, payload: Payload) -> float:
        """The client's weight in the mean, where there is one.

        `norm` is ‖B·A‖ of what the client sent, with the server's own factor where it sent one alone. So a
        client that sends larger values weighs more, and nothing stops one that exaggerates.
        """
        own = self.federation.strategy.weights
        kind = self.weights if own == "auto" else own
        if kind == "norm":
            return self._norm(payload)
        # Under privacy counts stay with the clients, so by default all weigh the same.
        return float(row.examples or 0) if kind == "examples" and self.federation.counts else 1.0

    def _norm(self, payload: Payload) -> float:
        layout, parts, slots = self.federation.layout, payload.parts, payload.slots
        a, b = (layout.whole(p, parts[p], slots) if p in parts else self._arrays[p] for p in FACTORS)
        return max(product_norm(layout, a, b), LEAST_NORM)

    def _require_quorum(self, server_round: int) -> None:
        answered = [row for row in self.rows if row.status in ("merged", "abstained")]
        needed = max(1, ceil(self.federation.quorum * len(self.rows)))
        if self.protection.needs_quorum and len(answered) < needed:
            lost = [f"client {r.partition}: {r.reason}" for r in self.rows if r not in answered]
            raise BractError(
                f"round {server_round}: {len(answered)} of {len(self.rows)} clients answered, "
                f"federation.quorum asks for {needed}; {'; '.join(lost[:3])}"
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
            plan = self.plan(server_round, member).measuring()
            self._measuring.append((self._message(plan, member, messages.EVALUATE, "float32"), member))
            self.protection.asked_to_measure(member.partition)
        return [message for message, _ in self._measuring]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord:
        """The task's figures over all held-out examples of the clients that answered."""
        return measured(replies, self._measuring, self.federation.task, self.protection.measured)

    def summary(self) -> None:
        """Log what this strategy is."""
        name, federation = type(self).__name__, self.federation
        log(INFO, "\t├──> %s: %s slots, head %s", name, federation.layout.slots, federation.head)

    # -- Messages ---------------------------------------------------------------------------

    def _message(self, plan: Plan, member: Member, kind: str, codec: Codec | None = None) -> Message:
        """A message for one member; those who receive the same share one packed array."""
        key = (plan.receives, plan.slots)
        if key not in self._packed:
            layout, slots = self.federation.layout, plan.carried
            parts: Parts = {part: layout.cut(part, self._arrays[part], slots) for part in plan.receives}
            rng = np.random.default_rng([self.federation.seed, 4, plan.round])
            data = pack(layout, Payload(plan.round, parts, slots), codec or self.federation.codec, rng)
            self._packed[key] = messages.payload_record(data)
        content = RecordDict({messages.PLAN: plan.to_record(), messages.PAYLOAD: self._packed[key]})
        return Message(content, dst_node_id=member.node, message_type=kind)
