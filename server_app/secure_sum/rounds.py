"""A round of a sum that nobody sees into: words are collected, survivors are fixed, the masks come off.

Guaranteed: who the survivors are is on disk before anybody is asked to help with them, and never changes; a number is
used for one exchange; what is not released leaves the model as it was.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from bract.directives.select import Select, best, standing
from bract.errors import BractError
from bract.flower.grid import between_machines
from bract.privacy.spending import PrivacySpending
from bract.results.run_folder import RunFolder
from bract.secure_sum.masks import Context
from bract.secure_sum.rounds import RoundOfSum
from bract.secure_sum.setup import Parameters
from bract.secure_sum.vector import Shape
from bract.settings.schema import Settings
from bract.wire import messages
from bract.wire.plan import Plan
from server_app.checkpoint import Checkpoint, Pending
from server_app.progress import say
from server_app.secure_sum.agreeing import SetUp, agree
from server_app.secure_sum.collected import Collected
from server_app.secure_sum.recovering import Answer, unmask
from server_app.transport import exchange
from strategies import FederatedLora, Member
from strategies.federation import to_arrays
from strategies.measuring import figures_of, margins, told_of
from strategies.replies import reason
from strategies.server_optimizer import ServerOptimizer
from strategies.sums import Slots, Summed, SumOfWords

PATIENCE = 10.0  # seconds for those whose words came to answer once more, where others have answered enough
MEMORY = "sum"  # of the checkpoint's memory, what is here


@dataclass(frozen=True)
class Numbers:
    """What must never be used twice in a run."""

    number: int = 0  # the last one that a round had
    generation: int = 0  # the last one that a set-up had
    fresh: bool = True  # a new set-up is needed


@dataclass(frozen=True)
class Exchanged:
    """What came of a number: the sum as whole numbers where it was released, else why not."""

    rows: list[dict[str, Any]]
    survivors: int
    values: Any = None
    figures: Sequence[int] = ()
    why: str = ""
    measured: Sequence[PrivacySpending] = ()


class SumRounds:
    """The rounds of a run whose server sees sums alone."""

    def __init__(self, grid: Grid, settings: Settings, strategy: FederatedLora, folder: RunFolder) -> None:
        self._grid, self._settings, self._strategy, self._folder = grid, settings, strategy, folder
        self._place = folder.checkpoint.parent
        self._numbers = Numbers()
        self._setup: SetUp | None = None
        self._up = self._down = 0  # bytes of this round beside the words and the model
        server = settings.server
        self._optimizer = ServerOptimizer(server.optimizer, server.lr, settings.train.lr_ratio)
        self._divisor = {
            "changes": 0.0,
            "clients": settings.federation.fraction,
            "gradients": float(settings.train.batch),
        }
        self._masked = settings.federation.sum == "secure"

    @property
    def parameters(self) -> Parameters | None:
        """Of the set-up in use."""
        return None if self._setup is None else self._setup.parameters

    @property
    def roster(self) -> bool:
        """Whether all members of the set-up in use say that they know the others by a roster."""
        return self._setup is not None and self._setup.roster

    def memory(self) -> dict[str, Any]:
        """What the checkpoint must not forget."""
        return {MEMORY: asdict(self._numbers)}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take it up again, with the set-up that was in use."""
        self._numbers = Numbers(**memory.get(MEMORY, {}))
        self._setup = SetUp.load(self._place / "setup.safetensors")
        if self._setup is not None and self._setup.parameters.generation > self._numbers.generation:
            # Agreed on after the checkpoint was written: the number that it was made for goes on with it.
            self._numbers = replace(self._numbers, generation=self._setup.parameters.generation, fresh=False)

    # -- What the run asks for ------------------------------------------------------------------

    def merged(self, state: Checkpoint, *, measure: bool) -> tuple[Pending, dict[str, Any]]:
        """Train the next round; the state after it, and the figures of the model before it."""
        number = state.round + 1
        self._strategy.stands_at(state.parts)
        members = sorted(self._strategy.federation.members)
        plans = {member: replace(self._strategy.plan(number, member), changes=False) for member in members}
        found, summed = self._exchanged(state, number, plans, measure=measure)
        parts, moments = state.parts, state.moments
        if found.values is not None:
            divisor = self._divisor[summed.of.kind]
            weight = divisor * found.survivors if divisor else float(found.figures[0])
            parts, moments = summed.after(state.parts, found.values, weight, self._optimizer, state.moments)
        rows = found.rows
        if found.why:
            say(f"round {number}: nothing is released, and the model stays as it is: {found.why}")
            for row in rows:
                if row["status"] == "merged":
                    row["status"], row["reason"] = "failed", f"not released: {found.why}"
            if not self._strategy.memory()["joined"]:
                others = "; ".join(f"client {row['partition']}: {row['reason']}" for row in rows[:3] if row["reason"])
                raise BractError(f"round {number}: no client trains; {others or found.why}")
        after = replace(state, round=number, parts=parts, moments=moments, memory=self._memory())
        totals = _totals(rows)
        totals["upload_bytes"] += self._up
        totals["download_bytes"] += self._down
        self._up = self._down = 0
        return Pending(after, rows, totals, {}), self._figures(found)

    def measured(self, state: Checkpoint) -> tuple[Checkpoint, dict[str, Any]]:
        """The figures of the model as it is at the end; a number is used for it."""
        self._strategy.stands_at(state.parts)
        members = sorted(self._strategy.federation.members)
        plans = {member: self._strategy.plan(state.round + 1, member).measuring() for member in members}
        found, _ = self._exchanged(state, state.round + 1, plans, measure=True)
        if found.why:
            say(f"the model is not measured: {found.why}")
        return replace(state, memory=self._memory()), self._figures(found)

    # -- One number -----------------------------------------------------------------------------

    def _exchanged(
        self, state: Checkpoint, round_: int, plans: Mapping[Member, Plan], *, measure: bool
    ) -> tuple[Exchanged, Summed]:
        newest = 0
        for _ in range(2):  # members that have seen newer numbers say which: from an older checkpoint one goes on above
            numbers = self._numbers
            self._numbers = replace(numbers, number=max(numbers.number, newest) + 1)
            setup = self._agreed(round_)
            summed = self._summed(state, plans, setup)
            found, newest = self._once(state, round_, plans, summed, setup, measure=measure)
            if newest <= self._numbers.number:
                break
        self._numbers = replace(self._numbers, fresh=self._numbers.fresh or bool(found.why))
        return found, summed

    def _agreed(self, round_: int) -> SetUp:
        """The set-up for the number in use: the one there is, or a new one."""
        numbers, setup = self._numbers, self._setup
        if setup is not None and setup.parameters.serves(numbers.number) and not numbers.fresh:
            return setup
        settings, name = self._settings.federation, self._strategy.federation.name
        rounds = max(1, self._settings.rounds - round_ + 2)

        def parameters_of(members: Sequence[int], generation: int, signed: bool) -> Parameters:
            return Parameters.of(
                name,
                generation,
                members,
                numbers.number,
                rounds,
                colluders=settings.colluders,
                survivors=settings.survivors,
                signed=signed,
            )

        setup = agree(
            self._grid,
            self._strategy.federation.members,
            parameters_of,
            numbers.generation + 1,
            settings.deadline,
            signed=between_machines(self._grid),
        )
        setup.save(self._place / "setup.safetensors")
        self._setup = setup
        up, down = setup.traffic
        self._up, self._down = self._up + up, self._down + down
        self._numbers = replace(numbers, generation=setup.parameters.generation, fresh=False)
        found = setup.parameters
        say(
            f"a sum over {len(found.members)} clients is agreed on: {found.colluders} may collude, {found.survivors} "
            f"must answer, so {found.honest} honest ones are in every sum"
            + (", signed with registered keys" if found.signed else "")
        )
        return setup

    def _summed(self, state: Checkpoint, plans: Mapping[Member, Plan], setup: SetUp) -> Summed:
        layout, plan = self._strategy.federation.layout, next(iter(plans.values()))
        for member, other in plans.items():
            if replace(other, rank=None, joined=0) != replace(plan, rank=None, joined=0):
                raise BractError(
                    f"federation.sum = {self._settings.federation.sum!r}: client {member.partition} would send other "
                    "parts than the others, which would tell it apart in the sum; give all clients the same rank"
                )
        union = _union(state, plans, layout)
        count = sum(layout.size(part, union) for part in plan.sends)
        of = RoundOfSum.of(self._settings, len(setup.parameters.members), setup.parameters.honest, count)
        return Summed(layout, of, plan.sends, union)

    def _once(
        self,
        state: Checkpoint,
        round_: int,
        plans: Mapping[Member, Plan],
        summed: Summed,
        setup: SetUp,
        *,
        measure: bool,
    ) -> tuple[Exchanged, int]:
        """One exchange of words and, where there are enough, their unmasking; and the newest number that is known."""
        strategy, number = self._strategy, self._numbers.number
        shape = summed.of.shape(strategy.federation.layout, strategy.federation.task)
        path = self._place / "sum.safetensors"
        collected = Collected.load(path, number, setup.print, shape)
        newest = 0
        if collected is None:
            collected, newest = self._collect(state, round_, plans, summed, shape, setup, measure=measure)
            if newest > number:
                return Exchanged(collected.rows, 0, why="members have seen newer rounds"), newest
            collected.save(path)
        else:
            strategy.recall(collected.memory)
        rows, survivors = [dict(row) for row in collected.rows], collected.survivors
        if len(survivors) < setup.parameters.survivors:
            why = f"the words of {len(survivors)} clients came, {setup.parameters.survivors} are asked for"
            return Exchanged(rows, len(survivors), why=why), newest
        if self._masked:
            try:
                self._unmask(collected, setup, self._asked(setup, plans))
            except BractError as error:
                return Exchanged(rows, len(survivors), why=str(error)), newest
        values, figures = collected.words.numbers()
        return Exchanged(rows, len(survivors), values, figures, measured=collected.measured), newest

    def _collect(
        self,
        state: Checkpoint,
        round_: int,
        plans: Mapping[Member, Plan],
        summed: Summed,
        shape: Shape,
        setup: SetUp,
        *,
        measure: bool,
    ) -> tuple[Collected, int]:
        strategy, number, start = self._strategy, self._numbers.number, time.perf_counter()
        asked = self._asked(setup, plans)
        record: dict[str, Any] = {"number": number, "asked": asked, "measure": measure, "print": setup.print}
        if summed.union is not None:
            record["slots"] = summed.union.tolist()
        strategy.words = SumOfWords(shape, number)

        def told(_: int, done: int, total: int) -> None:
            if summed.parts:  # else it is measured alone, after the last round
                spent = time.perf_counter() - start
                say(f"round {round_}/{self._settings.rounds}: {done} of {total} clients, {spent:.0f} s")

        strategy.on_reply = told
        members = [member for member in plans if setup.place(member.partition) in asked]
        outgoing = strategy.configure_sum(round_, to_arrays(state.parts), {m: plans[m] for m in members}, record)
        newest, model = 0, messages.get_payload(outgoing[0].content).tobytes()

        def heard(replies: Iterable[Message]) -> Iterable[Message]:
            nonlocal newest
            for reply in replies:
                newest = max(newest, _newest(reply))
                yield reply

        strategy.aggregate_train(round_, heard(exchange(self._grid, outgoing, self._settings.federation.deadline)))
        places = {setup.place(row.partition) for row in strategy.rows if row.status == "merged"}
        survivors = tuple(sorted(place for place in places if place is not None))
        context = Context.of(
            number, setup.print, plans[members[0]], model, asked, shape, summed.union, measured=measure
        )
        rows = [asdict(row) for row in strategy.rows]
        words, memory, measured = strategy.words.total, strategy.memory(), tuple(strategy.words.measured)
        found = Collected(number, setup.print, survivors, words, context.digest, rows, memory, measured)
        return found, newest

    def _asked(self, setup: SetUp, plans: Mapping[Member, Plan]) -> list[int]:
        places = (setup.place(member.partition) for member in plans)
        return sorted(place for place in places if place is not None)

    # -- Unmasking ------------------------------------------------------------------------------

    def _unmask(self, collected: Collected, setup: SetUp, asked: Sequence[int]) -> None:
        """Take the masks off the collected words, in place; BractError if too few help."""
        survivors, number = collected.survivors, collected.number
        record: dict[str, Any] = {
            "parameters": setup.parameters.to_text(),
            "number": number,
            "survivors": list(survivors),
        }
        if setup.parameters.signed:
            least = setup.parameters.confirmations
            signatures = self._said(
                messages.CONFIRM,
                asked,
                setup,
                lambda _: record,
                _signature,
                set(survivors),
                lambda found: len(found) >= least,
            )
            if len(signatures) < least:
                raise BractError(f"{len(signatures)} clients confirmed it, {least} are needed")
            record |= {"signers": sorted(signatures), "signatures": [signatures[one] for one in sorted(signatures)]}

        def asked_of(member: int) -> dict[str, Any]:
            return {**record, "boxes": setup.for_receiver(member, asked, number)}

        def answer_of(member: int, found: ConfigRecord) -> Answer:
            holds = sorted((set(setup.neighbours[member]) & set(asked)) | {member})
            return Answer.of(holds, found.get("shares"))

        def recoverable(found: Mapping[int, Any]) -> bool:
            held = Counter(member for answer in found.values() for member in answer.shares)
            return all(held[member] >= setup.parameters.threshold for member in asked)

        answers = self._said(messages.UNMASK, asked, setup, asked_of, answer_of, set(survivors), recoverable)
        context = Context(number, setup.print, collected.context)
        unmask(collected.words, context, setup.parameters, setup.public, asked, survivors, answers)

    def _said(
        self,
        kind: str,
        asked: Sequence[int],
        setup: SetUp,
        record_of: Callable[[int], Mapping[str, Any]],
        read: Callable[[int, ConfigRecord], Any],
        awaited: set[int],
        needed: Callable[[Mapping[int, Any]], bool],
    ) -> dict[int, Any]:
        """What members answered, by their places; a bad answer is named and left out."""
        nodes = {setup.place(member.partition): member for member in self._strategy.federation.members}
        outgoing = [
            Message(
                RecordDict({messages.SUM: ConfigRecord(dict(record_of(place)))}),
                dst_node_id=nodes[place].node,
                message_type=kind,
            )
            for place in asked
        ]
        self._down += sum(_bytes(message.content.config_records[messages.SUM]) for message in outgoing)
        places = {nodes[place].node: place for place in asked}
        found: dict[int, Any] = {}
        start = time.monotonic()

        def enough() -> bool:
            """Whether those whose words came have answered; or, after a while, as many as are needed."""
            return awaited <= found.keys() or (time.monotonic() - start > PATIENCE and needed(found))

        for reply in exchange(self._grid, outgoing, self._settings.federation.deadline, enough):
            place = places.get(reply.metadata.src_node_id)
            if place is None or place in found:
                continue
            partition = setup.parameters.members[place]
            try:
                if reply.has_error():
                    raise BractError(reason(reply))
                record = reply.content.config_records[messages.SUM]
                found[place] = read(place, record)
                self._up += _bytes(record)
            except (BractError, KeyError) as error:
                say(f"client {partition} does not help to take off the masks: {error}")
        return found

    # -- Figures --------------------------------------------------------------------------------

    def _figures(self, found: Exchanged) -> dict[str, Any]:
        """The task's figures over all held-out examples, with their margin where noise is in them."""
        task = self._strategy.federation.task
        if found.values is None or not any(found.figures[1:]):
            return {}
        told = told_of(found.figures[1:], found.measured, task)
        figures: dict[str, Any] = dict(figures_of(told, task))
        if told.spread is not None and figures:
            figures |= {f"{name}_margin": value for name, value in margins(told, task).items()}
        return figures

    def _memory(self) -> dict[str, Any]:
        return {**self._strategy.memory(), **self.memory()}


def _union(state: Checkpoint, plans: Mapping[Member, Plan], layout: Any) -> Slots | None:
    """The slots that any member selects: a function of what was released and of public budgets. None: all."""
    counts = {directive.count for plan in plans.values() for directive in plan.do if isinstance(directive, Select)}
    selecting = [any(isinstance(directive, Select) for directive in plan.do) for plan in plans.values()]
    if not counts or not all(selecting):
        return None
    return best(standing(layout, state.parts), max(counts))


def _bytes(record: ConfigRecord) -> int:
    """Of what is long in a record: boxes, shares, signatures."""
    lists = (value if isinstance(value, list) else [value] for value in record.values())
    return sum(len(one) for values in lists for one in values if isinstance(one, bytes))


def _signature(member: int, found: ConfigRecord) -> bytes:
    signature = found.get("signature")
    if not isinstance(signature, bytes):
        raise BractError("its answer holds no signature")
    return signature


def _newest(reply: Message) -> int:
    """The newest number that a member has seen, where it refuses one for that; else 0."""
    if reply.has_error():
        return 0
    value = reply.content.config_records.get(messages.REPORT, ConfigRecord()).get("newest", 0)
    return value if type(value) is int and 0 <= value < 2**31 - 64 else 0


def _totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "clients": sum(row["status"] == "merged" for row in rows),
        "failed": sum(row["status"] in ("failed", "refused") for row in rows),
        "abstained": sum(row["status"] == "abstained" for row in rows),
        **{name: sum(row[name] for row in rows) for name in ("upload_bytes", "download_bytes", "upload_values")},
    }


__all__ = ["SumRounds"]
