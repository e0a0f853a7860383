"""A private local round: asked of the ledger first, written down before it trains, its reply kept before it leaves."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from bract.errors import BractError
from bract.privacy.accounting import SLACK, Use, epsilon
from bract.privacy.mechanism import Mechanism, find
from bract.privacy.noise import SecureNoise, process_noise
from bract.privacy.spending import Limit
from bract.settings.schema import Settings
from bract.wire.messages import METRICS, PAYLOAD, PLAN, PRIVACY, REPORT, get_payload, payload_record, spending_record
from bract.wire.plan import KEY, Plan
from client_app.privacy.ledger import Entry, Ledger, opened, request_digest


@dataclass(frozen=True)
class Private:
    """How the gradients of a private training are made, for no more steps than were charged."""

    mechanism: Mechanism
    noise: SecureNoise
    groups: str = "all"
    taken: list[int] = field(default_factory=list)

    def take(self, steps: int) -> None:
        """Before they are drawn: so many of the steps that were charged."""
        if steps < 0 or sum(self.taken) + steps > self.mechanism.steps:
            raise BractError(f"{steps} more steps would be beyond the {self.mechanism.steps} that were charged")
        self.taken.append(steps)


@dataclass(frozen=True)
class Account:
    """Whose budget it is."""

    settings: Settings
    source: str  # the data's own name, see `data.identity`
    partition: int
    examples: int
    limit: Limit | None

    def mechanism(self, plan: Plan) -> Mechanism:
        """What this run's settings mean for this client; the same in every round with these directives."""
        rounds = self.settings.privacy.joins or self.settings.rounds
        return find(self.settings.privacy, self.settings.train, self.examples, rounds, plan.do)

    def over(self, ledger: Ledger, entry: Entry, mechanism: Mechanism) -> str:
        """Why this entry must not be spent; nothing if it may."""
        # A test's noise is checked as if it were noise: by its size, not by `Entry.use`.
        run = [Use(e.sigma, e.rate, e.steps) for e in (*ledger.of(entry.federation), entry)]
        spent = mechanism.epsilon_of(run)
        if spent > mechanism.epsilon * SLACK:
            return (
                f"its privacy budget for this run is spent: another round would make it {spent:.4g} of "
                f"privacy.epsilon = {mechanism.epsilon:g}"
            )
        if self.limit is not None:
            lifetime = epsilon([*(e.use for e in ledger.entries), entry.use], self.limit.delta)
            if lifetime > self.limit.epsilon * SLACK:
                return (
                    f"its node's privacy-limit = {self.limit.epsilon:g} is reached: another round would make it "
                    f"{lifetime:.4g} over the life of its data"
                )
        return ""

    def private(self, mechanism: Mechanism, plan: Plan) -> Private:
        """The mechanism with the noise that this round is trained with."""
        seed = self.settings.privacy.test_seed
        noise = SecureNoise(f"{seed}/{self.partition}/{plan.round}") if seed else process_noise()
        return Private(mechanism, noise, self.settings.privacy.clip_groups)

    def with_statement(self, reply: RecordDict, ledger: Ledger, mechanism: Mechanism, plan: Plan) -> RecordDict:
        """What the client has spent in this run, beside its reply."""
        entries = ledger.of(plan.federation)
        uses, secret = [Use(e.sigma, e.rate, e.steps) for e in entries], not any(e.seeded for e in entries)
        limit = self.limit.epsilon if self.limit else None
        reply[PRIVACY] = spending_record(mechanism.spending(uses, len(entries), secret=secret, limit=limit))
        return reply


def charged(account: Account, plan: Plan, content: RecordDict, work: Callable[[Private], RecordDict]) -> RecordDict:
    """The reply to a request for training: trained, given again, or abstained.

    Guaranteed: what is trained was on disk as spent before; nothing is trained beyond the run's target
    or the operator's limit; every reply that leaves has an entry of its own, or is the same bytes as before.
    """
    try:
        mechanism = account.mechanism(plan)
    except BractError:  # its words would tell how many examples there are
        return abstained(
            "privacy.delta and train.batch do not fit its number of examples, or its noise would be past all "
            "use; lower train.batch or privacy.delta, or raise privacy.epsilon"
        )
    request = request_digest(str(content[PLAN][KEY]).encode(), get_payload(content).tobytes())
    entry = Entry(
        plan.federation,
        plan.round,
        request,
        mechanism.sigma,
        mechanism.rate,
        mechanism.steps,
        mechanism.delta,
        bool(account.settings.privacy.test_seed),
    )
    with opened(account.source, account.partition) as ledger:
        known = ledger.find(entry.federation, entry.round, entry.request)
        kept = None if known is None else ledger.reply(known)
        if kept is not None:
            return unpacked(kept)
        # Only the newest entry, and only if nothing was ever answered to it, may be trained again for free.
        unanswered = known == entry and known == ledger.entries[-1]
        if not unanswered:
            over = account.over(ledger, entry, mechanism)
            if over:
                return account.with_statement(abstained(over), ledger, mechanism, plan)
            ledger.write(entry)
        try:
            found = work(account.private(mechanism, plan))
        except Exception as error:
            # That it failed leaves the device too. So it is the reply, and the entry's only one.
            why = str(error) if isinstance(error, BractError) else f"training failed ({type(error).__name__})"
            found = abstained(why)
        reply = account.with_statement(found, ledger, mechanism, plan)
        ledger.keep_reply(entry, packed(reply))
    return reply


def require_answered(account: Account, federation: str, round_: int) -> None:
    """Nothing is computed from what a round kept whose reply was never made: it will be trained again."""
    with opened(account.source, account.partition) as ledger:
        of = [entry for entry in ledger.of(federation) if entry.round == round_]
        if of and of[-1] == ledger.entries[-1] and ledger.reply(of[-1]) is None:
            raise BractError(f"client {account.partition}: round {round_} was cut short here and is not trained yet")


def abstained(reason: str) -> RecordDict:
    """A reply of a client that does not train, and is no failure."""
    return RecordDict({REPORT: ConfigRecord({"status": "abstained", "reason": reason})})


def packed(reply: RecordDict) -> bytes:
    """A reply as bytes: a line of JSON, and the payload."""
    words: Any = {name: dict(reply.config_records[name]) for name in (REPORT, PRIVACY)}
    if METRICS not in reply:
        return json.dumps(words).encode() + b"\n"
    words[METRICS] = dict(reply.metric_records[METRICS])
    return json.dumps(words).encode() + b"\n" + get_payload(reply).tobytes()


def unpacked(data: bytes) -> RecordDict:
    """The reply of `packed`."""
    line, _, payload = data.partition(b"\n")
    words = json.loads(line)
    reply = RecordDict({name: ConfigRecord(words[name]) for name in (REPORT, PRIVACY)})
    if METRICS in words:
        reply[METRICS] = MetricRecord(words[METRICS])
        reply[PAYLOAD] = payload_record(np.frombuffer(payload, dtype=np.uint8))
    return reply
