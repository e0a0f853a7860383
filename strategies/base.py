"""What the federated LoRA methods have in common, on Flower's `Strategy`.

A method says two things: the plan it makes for a client and a round, and how it merges what
comes back. Everything else is here: sampling, messages, the checks that a reply must pass, the
count of bytes. A strategy works under Bract's own rounds and under Flower's `start` alike.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from bract.adapter.layout import FACTORS, Part, Parts
from bract.errors import BractError
from bract.privacy.accounting import Use
from bract.settings.choices import Codec
from bract.wire import messages
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan
from strategies.aggregation import LIMIT, Merger, WeightedMean
from strategies.client_level_dp import chosen_clients, noise_of, noisy_sum
from strategies.diagnostics import Pictures
from strategies.federation import ClientRow, Federation, Member, reason, to_arrays, to_parts, totals
from strategies.norms import product_norm
from strategies.replies import MAX_EXAMPLES, measured

INFO, WARNING = 20, 30
LEAST_NORM = 2.0**-40  # a client's norm weight is at least this: were all norms zero, all would weigh the same


class FederatedLora(Strategy):
    """A federated LoRA method. Subclasses give `plan`, and `merger` where it is no mean.

    `rows` holds what became of every client in the last round of training, and `picture` what
    the clients chose and learned, compared.
    """

    weights = "examples"  # the method's own choice, taken where the setting is auto
    one_by_one = False  # the next client's message depends on the last one's reply

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.rows: list[ClientRow] = []
        self.picture: dict[str, Any] = {}
        self.privacy: dict[int, dict[str, Any]] = {}  # by client: the newest line of its ledger
        self.unheard: dict[int, int] = {}  # by client: rounds it was asked to train in since that line
        self.uses: list[Use] = []  # what the server has spent, where it protects whole clients
        self._arrays: Parts = {}
        self._sent: dict[int, tuple[Message, Member, Plan]] = {}
        self._whom: dict[str, int] = {}
        self._sampled: dict[int, list[Member]] = {}  # by round, where the sample is no function of the seed
        self._joined: dict[int, int] = {}  # by client: the last round of which its reply was merged
        self._measuring: list[tuple[Message, Member]] = []
        self._packed: dict[tuple[tuple[Part, ...], tuple[int, ...] | None], ArrayRecord] = {}
        # Called with (client's partition, answered so far, sampled) as replies are taken in.
        self.on_reply: Callable[[int, int, int], None] = lambda partition, done, total: None

    @abstractmethod
    def plan(self, server_round: int, member: Member) -> Plan:
        """What this member does in this round."""

    def merger(self, plan: Plan) -> Merger:
        """Where the replies to such plans are merged."""
        return WeightedMean(self.federation.layout, plan.sends)

    def memory(self) -> dict[str, Any]:
        """What the strategy must not forget between rounds, beside the factors, as plain values for JSON."""
        return {
            "joined": {str(partition): round_ for partition, round_ in sorted(self._joined.items())},
            "privacy": {str(partition): line for partition, line in sorted(self.privacy.items())},
            "unheard": {str(partition): rounds for partition, rounds in sorted(self.unheard.items()) if rounds},
            "uses": [list(use) for use in self.uses],
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up what `memory` gave when the run was stopped."""
        self.privacy = {int(partition): dict(line) for partition, line in memory.get("privacy", {}).items()}
        self.unheard = {int(partition): int(rounds) for partition, rounds in memory.get("unheard", {}).items()}
        self.uses = [Use(float(sigma), float(rate), int(steps)) for sigma, rate, steps in memory.get("uses", [])]
        self._joined = {int(partition): int(round_) for partition, round_ in memory.get("joined", {}).items()}

    def factors(self, server_round: int, member: Member, *parts: Part) -> Plan:
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
        if self.one_by_one or self.federation.mechanism is not None:
            what = "clients that train one after the other" if self.one_by_one else "privacy for whole clients"
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
        self._arrays, self._packed, self._sent, self._whom = to_parts(arrays), {}, {}, {}
        self._pictures = Pictures(self.federation.layout, self._arrays, self.federation.seed)
        messages_ = self._outgoing(server_round)
        return messages_ if self.one_by_one else list(messages_)

    def _outgoing(self, server_round: int) -> Iterator[Message]:
        for member in self.sample(server_round):
            plan = self.plan(server_round, member)
            message = self._message(plan, member, messages.TRAIN)
            self._sent[member.partition] = (message, member, plan)
            if self.federation.mechanism is None:
                self.unheard[member.partition] = self.unheard.get(member.partition, 0) + 1
            yield message

    def sample(self, server_round: int) -> list[Member]:
        """The round's members: a pure function of seed, round and the partitions that joined.

        Where whole clients are protected it is a secret Poisson sample, drawn once a round, and may be empty.
        """
        mechanism = self.federation.mechanism
        if mechanism is not None:
            if server_round not in self._sampled:
                noise = noise_of(self.federation.test_seed, server_round, "sample")
                self._sampled = {server_round: chosen_clients(self.federation.members, mechanism, noise)}
            return self._sampled[server_round]
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
        total = len(self.sample(server_round))
        rows: dict[int, ClientRow] = {}
        merge: Merger | None = noisy_sum(
            self.federation, self.plan(server_round, min(self.federation.members)), self._arrays
        )
        for reply in replies:
            partition = self._whose(reply)
            if partition is None or partition in rows:
                log(WARNING, "a reply that this round did not ask for was put aside")
                continue
            plan, row = self._sent[partition][2], rows.setdefault(partition, self._row(server_round, partition))
            merge = merge or self.merger(plan)
            try:
                self._take(reply, plan, row, merge)
            except BractError as error:
                row.status, row.reason = "refused", str(error)
            except Exception as error:
                row.status, row.reason = "refused", f"malformed reply ({type(error).__name__})"
            if row.status in ("failed", "refused"):
                log(WARNING, "client %s %s: %s", partition, row.status, row.reason)
            self.on_reply(partition, len(rows), total)
        for partition in sorted(self._sent.keys() - rows):
            rows[partition] = self._row(server_round, partition)
            log(WARNING, "client %s failed: %s", partition, rows[partition].reason)
        self.rows = [rows[partition] for partition in sorted(rows)]
        self.picture = self._pictures.row(server_round)
        self._require_quorum(server_round)
        self._joined |= {row.partition: server_round for row in self.rows if row.status == "merged"}
        private = self.federation.mechanism is not None
        if merge is None or not (private or any(row.status == "merged" for row in self.rows)):
            return None, totals(self.rows)
        self._arrays = {**self._arrays, **merge.result(self._arrays)}
        return to_arrays(self._arrays), totals(self.rows)

    def _whose(self, reply: Message) -> int | None:
        """The client whose message this answers."""
        if len(self._whom) < len(self._sent):  # ids are given when messages are pushed, so not before
            self._whom = {message.metadata.message_id: p for p, (message, _, _) in self._sent.items()}
        return self._whom.get(reply.metadata.reply_to_message_id)

    def _row(self, server_round: int, partition: int) -> ClientRow:
        message, _, plan = self._sent[partition]
        return ClientRow(
            server_round, partition, "failed", "no reply by the deadline",
            download_bytes=messages.payload_bytes(message),
            download_values=sum(self.federation.layout.size(part, as_slots(plan)) for part in plan.receives),
        )  # fmt: skip

    def _take(self, reply: Message, plan: Plan, row: ClientRow, merge: Merger) -> None:
        if reply.has_error():
            row.status = "failed"
            row.reason = reason(reply)
            return
        row.upload_bytes = messages.payload_bytes(reply)
        status, why = messages.report(reply.content)
        line = messages.privacy_line(reply.content)
        if line is not None and self.federation.mechanism is None:  # else the server counts for itself
            self.privacy[row.partition], self.unheard[row.partition] = line, 0
            row.epsilon = line["epsilon"]
        if status == "abstained":
            row.status, row.reason = "abstained", why
            if line is None and self.federation.mechanism is None:  # its ledger was not even asked
                self.unheard[row.partition] -= 1
            return
        data = messages.get_payload(reply.content)
        payload = unpack(self.federation.layout, data, round=plan.round, parts=plan.sends)
        if any(len(values) and float(np.abs(values).max()) >= LIMIT for values in payload.parts.values()):
            raise BractError("a value is out of all bounds")
        if not self.slots_fit(plan, payload):
            raise BractError("the payload's slots are not those of the plan")
        row.steps = messages.count(reply.content, "steps")
        if self.federation.counts:
            row.examples = messages.count(reply.content, "examples", MAX_EXAMPLES)
            row.loss = messages.metric(reply.content, "loss")
            row.head_share = messages.optional_metric(reply.content, "head_share", 1.0)
        row.seconds = messages.metric(reply.content, "seconds")
        row.busy = messages.metric(reply.content, "busy")
        row.upload_values = payload.values
        if not row.examples and self.federation.counts:
            raise BractError("the reply claims to have learned from no examples")
        merge.add(row.partition, self.weigh(row, payload), payload)
        layout = self.federation.layout
        row.rank = (layout.slots if payload.slots is None else len(payload.slots)) / len(layout.modules)
        self._pictures.add(row.partition, payload, changes=plan.changes)
        row.status, row.reason = "merged", ""
        self.taken(plan, payload)

    def taken(self, plan: Plan, payload: Payload) -> None:
        """Called after a reply was merged."""

    def slots_fit(self, plan: Plan, payload: Payload) -> bool:
        """Whether a reply carries the slots that the plan lets it carry."""
        got, carried = payload.slots, as_slots(plan)
        if plan.select is not None:
            allowed = np.arange(self.federation.layout.slots) if carried is None else carried
            return got is not None and len(got) == plan.select.count and bool(np.isin(got, allowed).all())
        if got is None or carried is None:
            return got is carried
        return np.array_equal(got, carried)

    def weigh(self, row: ClientRow, payload: Payload) -> float:
        """The client's weight in the mean.

        `norm` is ‖B·A‖ of what the client sent, with the server's own factor where it sent one alone. So a
        client that sends larger values weighs more, and nothing stops one that exaggerates.
        """
        if self.federation.mechanism is not None:
            return 1.0
        own = self.federation.strategy.weights
        kind = self.weights if own == "auto" else own
        if kind == "norm":
            layout = self.federation.layout
            a, b = (layout.whole(p, payload.parts[p], payload.slots) if p in payload.parts else self._arrays[p]
                    for p in FACTORS)  # fmt: skip
            return max(product_norm(layout, a, b), LEAST_NORM)
        # Under privacy counts stay with the clients, so by default all weigh the same.
        return float(row.examples) if kind == "examples" and self.federation.counts else 1.0

    def _require_quorum(self, server_round: int) -> None:
        answered = [row for row in self.rows if row.status in ("merged", "abstained")]
        needed = max(1, ceil(self.federation.quorum * len(self.rows)))
        if self.federation.mechanism is not None and self.federation.mechanism.rate < 1:
            return  # to go on with some samples and not with others would tell of the sample, which is a secret
        if len(answered) < needed:
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
            plan = replace(self.plan(server_round, member), trains=(), sends=(), select=None, changes=False)
            self._measuring.append((self._message(plan, member, messages.EVALUATE, "float32"), member))
        return [message for message, _ in self._measuring]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord:
        """Accuracy and mean loss over all held-out examples of the clients that answered."""
        return measured(replies, self._measuring)

    def summary(self) -> None:
        """Log what this strategy is."""
        log(INFO, "\t├──> %s: %s slots, head %s", type(self).__name__, self.federation.layout.slots,
            self.federation.head)  # fmt: skip

    # -- Messages ---------------------------------------------------------------------------

    def _message(self, plan: Plan, member: Member, kind: str, codec: Codec | None = None) -> Message:
        """A message for one member; those who receive the same share one packed array."""
        key = (plan.receives, plan.slots)
        if key not in self._packed:
            layout, slots = self.federation.layout, as_slots(plan)
            parts: Parts = {part: layout.cut(part, self._arrays[part], slots) for part in plan.receives}
            rng = np.random.default_rng([self.federation.seed, 4, plan.round])
            data = pack(layout, Payload(plan.round, parts, slots), codec or self.federation.codec, rng)
            self._packed[key] = messages.payload_record(data)
        content = RecordDict({messages.PLAN: plan.to_record(), messages.PAYLOAD: self._packed[key]})
        return Message(content, dst_node_id=member.node, message_type=kind)


def as_slots(plan: Plan) -> NDArray[np.int64] | None:
    """The plan's slots as an index; None for all."""
    return None if plan.slots is None else np.array(plan.slots, dtype=np.int64)
