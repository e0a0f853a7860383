"""What costs privacy: asked of the ledger first, written down before it is done, its reply kept before it leaves."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from bract.errors import BractError, PublicError
from bract.faults import public_words
from bract.log import log
from bract.privacy import lifetime
from bract.privacy.accounting import SLACK, Use
from bract.privacy.mechanism import Mechanism, find, find_for_measuring, find_for_sum
from bract.privacy.noise import SecureNoise, process_noise
from bract.privacy.spending import Limit
from bract.settings.schema import Settings
from bract.wire.messages import (
    HOLDOUT,
    METRICS,
    PAYLOAD,
    PRIVACY,
    REPORT,
    get_payload,
    payload_record,
    spending_record,
)
from bract.wire.plan import Plan
from client_app.privacy.body import Body
from client_app.privacy.ledger import Entry, Lane, Ledger
from client_app.privacy.requests import digest_of
from client_app.privacy.shelf import opened

WARNING = 30


@dataclass(frozen=True)
class Private:
    """How the gradients of a private training are made, for no more steps than were charged."""

    mechanism: Mechanism
    noise: SecureNoise
    groups: str = "all"
    per_person: int = 0  # examples of a person in a step, where persons are protected
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
    body: Body
    records: int  # examples or persons that it trains on, as far as their number is public
    held: int  # those that it holds out
    limit: Limit | None = None
    split: str = ""  # the way in which examples are held out
    server: str = "simulation"  # who asks, as the node's operator knows it
    largest_delta: float | None = None  # the operator's word; None: a tenth of one in the number of records
    honest: int = 0  # members whose shares make up the noise, where clients share it; 0: it is all the client's own
    roster: bool = False  # whether they are known by a roster

    def training(self, plan: Plan) -> Mechanism:
        """What this run's settings mean for this client; the same in every round with these directives."""
        privacy = self.settings.privacy
        rounds = privacy.joins or self.settings.rounds
        if privacy.noise == "shared":
            return find_for_sum(privacy, self.settings.train, rounds, self.records, largest_delta=self.largest_delta)
        return find(privacy, self.settings.train, self.records, rounds, plan.do, largest_delta=self.largest_delta)

    def measuring(self, sums: int) -> Mechanism:
        """What they mean for measuring so many sums on what it holds out."""
        privacy, rounds = self.settings.privacy, self.settings.rounds
        return find_for_measuring(privacy, self.held, rounds, sums, largest_delta=self.largest_delta)

    def over(self, ledger: Ledger, entry: Entry, mechanism: Mechanism) -> str:
        """Why this entry must not be spent, in words without the operator's numbers; nothing if it may."""
        # A test's noise is checked as if it were noise: by its size, not by `Entry.use`.
        run = [Use(e.sigma, e.rate, e.steps) for e in (*ledger.of(entry.federation, entry.lane), entry)]
        spent = mechanism.epsilon_of(run)
        if spent > mechanism.epsilon * SLACK:
            return (
                f"its privacy budget for this run is spent: another round would make it {spent:.4g} of "
                f"privacy.epsilon = {mechanism.epsilon:g}"
            )
        if self.limit is None:
            return ""
        unit = self.limit.unit
        uses = [*ledger.uses(entry.lane, entry.split, unit), entry.counted(unit)]
        if not lifetime.fits(uses, self.limit):
            told = lifetime.spent(uses, self.limit)
            log(WARNING, "the lifetime limit of %g would be passed: %.4g", self.limit.epsilon, told)
            return "the limit that its node's operator set for the life of its data is reached"
        return ""

    def noise(self, entry: Entry) -> SecureNoise:
        """The noise of this entry's release."""
        seed = self.settings.privacy.test_seed
        lane = "" if entry.lane == "train" else f"/{entry.lane}"
        return SecureNoise(f"{seed}/{self.body.partition}/{entry.round}{lane}") if seed else process_noise()

    def with_statement(self, reply: RecordDict, ledger: Ledger, mechanism: Mechanism, entry: Entry) -> RecordDict:
        """What the client has spent in this run and lane, beside its reply. Its operator's limit is no server's."""
        entries = ledger.of(entry.federation, entry.lane)
        uses, secret = [Use(e.sigma, e.rate, e.steps) for e in entries], not any(e.seeded for e in entries)
        limit = self.limit.epsilon if self.limit and not self.body.own else None
        spending = mechanism.spending(uses, len(entries), secret=secret, limit=limit)
        reply[PRIVACY] = spending_record(replace(spending, honest=self.honest))
        return reply


def charged(
    account: Account,
    lane: Lane,
    content: RecordDict,
    plan: Plan,
    mechanism_of: Callable[[], Mechanism],
    work: Callable[[Mechanism, SecureNoise], RecordDict],
) -> RecordDict:
    """The reply to a request that costs privacy of a lane's examples: made, given again, or abstained.

    Guaranteed: what is done was on disk as spent before; nothing is done beyond the run's target or the operator's
    limit; every reply that leaves has an entry of its own, or is the same bytes as before. That the work failed is a
    reply, too, and the entry's only one.
    """
    try:
        mechanism = mechanism_of()
    except BractError as error:  # its words would tell how many examples there are
        log(WARNING, "abstained: %s", error)
        return abstained(
            "privacy.delta and train.batch do not fit its number of examples, or its noise would be past all "
            "use; lower train.batch or privacy.delta, or raise privacy.epsilon"
        )
    entry = Entry(
        plan.federation,
        plan.round,
        digest_of(content),
        mechanism.sigma,
        mechanism.rate,
        mechanism.steps,
        mechanism.delta,
        seeded=bool(account.settings.privacy.test_seed),
        lane=lane,
        split=account.split,
        unit=account.settings.privacy.unit,
        server=account.server,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        honest=account.honest,
        roster=account.roster,
    )
    with opened(account.body, account.limit) as ledger:
        known = ledger.find(entry.federation, entry.round, entry.request, lane)
        kept = None if known is None else ledger.reply(known)
        if kept is not None:
            return unpacked(kept)
        # Only the newest entry, and only if nothing was ever answered to it, may be worked on again for free.
        newest = ledger.newest(lane)
        if known is not None and newest is not None and known.key == entry.key == newest.key:
            entry = known
        else:
            if over := account.over(ledger, entry, mechanism):
                return account.with_statement(abstained(over), ledger, mechanism, entry)
            ledger.write(entry)
        try:
            found = work(mechanism, account.noise(entry))
        except Exception as error:
            told = str(error) if isinstance(error, BractError) and not account.body.own else public_words(error)
            found = abstained(told)
        reply = account.with_statement(found, ledger, mechanism, entry)
        ledger.keep_reply(entry, packed(reply))
    return reply


def require_answered(account: Account, federation: str, round_: int) -> None:
    """Nothing is computed from what a round kept whose reply was never made: it will be trained again."""
    with opened(account.body) as ledger:
        of = [entry for entry in ledger.of(federation) if entry.round == round_]
        if of and of[-1] == ledger.newest("train") and ledger.reply(of[-1]) is None:
            raise PublicError(
                f"client {account.body.partition}: round {round_} was cut short here and is not trained yet"
            )


def abstained(reason: str) -> RecordDict:
    """A reply of a client that does not train, and is no failure."""
    return RecordDict({REPORT: ConfigRecord({"status": "abstained", "reason": reason})})


KINDS = (REPORT, PRIVACY, HOLDOUT)  # a reply's records of words


def packed(reply: RecordDict) -> bytes:
    """A reply as bytes: a line of JSON, and the payload."""
    words: Any = {name: dict(reply.config_records[name]) for name in KINDS if name in reply}
    if METRICS in reply:
        words[METRICS] = dict(reply.metric_records[METRICS])
    payload = get_payload(reply).tobytes() if PAYLOAD in reply else b""
    return json.dumps(words).encode() + b"\n" + payload


def unpacked(data: bytes) -> RecordDict:
    """The reply of `packed`."""
    line, _, payload = data.partition(b"\n")
    words = json.loads(line)
    reply = RecordDict({name: ConfigRecord(words[name]) for name in KINDS if name in words})
    if METRICS in words:
        reply[METRICS] = MetricRecord(words[METRICS])
    if payload:
        reply[PAYLOAD] = payload_record(np.frombuffer(payload, dtype=np.uint8))
    return reply
