"""The rounds of a run: join, train, merge, measure, checkpoint; and going on after a stop."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from statistics import fmean, pstdev
from typing import Any

from flwr.app import ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

import bract
from bract.adapter import initial
from bract.adapter.layout import Parts
from bract.errors import BractError
from bract.privacy.mechanism import find_for_clients
from bract.results.console import with_margin
from bract.results.export import Export
from bract.results.report import pages
from bract.results.run_folder import RunFolder
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.tasks.task import Task
from server_app import privacy_report
from server_app.checkpoint import Checkpoint, Pending
from server_app.join import Joined, first_head, join
from server_app.progress import say
from server_app.secure_sum.rounds import SumRounds
from server_app.transport import exchange
from strategies import FederatedLora, Federation, create
from strategies.federation import head_mode, to_arrays, to_parts
from strategies.ranks import assign

SHOWN = 3  # clients that failed, named in a round's line; clients.jsonl has them all


def run(grid: Grid, settings: Settings) -> RunFolder:
    """The whole run. Raises BractError, with the last complete round on disk, if it cannot go on."""
    folder = RunFolder.resume(settings) if settings.run.resume else RunFolder.start(settings)
    try:
        say(f"run folder {folder.path}")
        _run_in(folder, grid, settings)
    finally:
        folder.release()
        if not folder.rounds():
            folder.discard()  # it failed before its first row: nothing to keep
    return folder


def _run_in(folder: RunFolder, grid: Grid, settings: Settings) -> None:
    joined = join(grid, settings.federation)
    members = assign(joined.members, settings, len(joined.layout.modules), joined.card.partitions)
    joined, outputs = replace(joined, members=members), joined.outputs
    evaluate = _test_set(settings, joined)
    state = _state(grid, settings, folder, joined)
    strategy = create(settings.strategy.name, _federation(settings, joined, state.federation))
    strategy.recall(state.memory)
    if settings.privacy.test_seed and settings.privacy.unit != "none":
        say("WARNING: privacy.test-seed is set: anyone can subtract the noise, and this run protects nothing")
    say(
        f"{len(joined.members)} clients, {outputs.size} {'labels' if outputs.names else 'outputs'}, "
        f"{settings.strategy.name}, "
        f"{joined.layout.slots} slots, head {strategy.federation.head}"
    )
    sums = None if settings.federation.sum == "plain" else SumRounds(grid, settings, strategy, folder)
    rounds = Rounds(grid, settings, folder, strategy, evaluate, sums)
    if sums is not None:
        sums.recall(state.memory)
    if state.round == 0 and not folder.rounds():
        rounds.measure_start(state)
    while state.round < settings.rounds:
        state = rounds.next(state)
    if sums is not None:
        state = rounds.measure_end(state, sums)
    rounds.state_privacy(last=True)
    score = folder.rounds()[-1][task_of(settings.model.task).score]
    keeps = strategy.plan(1, joined.members[0]).keeps
    export = Export(settings, joined.layout, outputs, joined.card.pooling, len(joined.members), keeps)
    export.write(folder.adapter, state.parts, score)
    personal = f"personal/{state.federation}" if keeps else None
    folder.write_summary({**summary(folder, settings), "personal": personal})
    pages.report(folder.path)


@dataclass(frozen=True)
class Rounds:
    """What every round needs."""

    grid: Grid
    settings: Settings
    folder: RunFolder
    strategy: FederatedLora
    evaluate: Any
    sums: SumRounds | None = None  # where the server sees sums over clients alone

    @property
    def task(self) -> Task:
        """What the model is trained for."""
        return self.strategy.federation.task

    def measure_start(self, state: Checkpoint) -> None:
        """Row 0: the model before any training."""
        start = time.perf_counter()
        measured = self._measure(state)
        row = self._row(0, {}, measured, state.parts, time.perf_counter() - start)
        self.folder.add_round(row)
        replace(state, memory=self._memory()).save(self.folder.checkpoint)
        if self.sums is None:
            say(self._line(row))

    def next(self, state: Checkpoint) -> Checkpoint:
        """One round, from the state before it to the state after it, which is then on disk."""
        start = time.perf_counter()
        number = state.round + 1
        if self.sums is not None:
            merged, figures = self.sums.merged(state, measure=self._due(state.round))
            self.state_privacy()
            self._measured_late(state.round, figures)
        else:
            merged = self._merged(state, start)
        after, training = merged.after, time.perf_counter() - start
        measured = self._measure(after)
        _add_scores(merged.clients, measured, self.task)
        row = self._row(number, merged.metrics, measured, after.parts, time.perf_counter() - start)
        row["training_seconds"] = round(training, 3)
        after = replace(after, memory=self._memory())  # with what measuring has cost
        self.folder.add_clients(merged.clients)
        if merged.diagnostics:
            self.folder.add_diagnostics(merged.diagnostics)
        self.folder.add_round(row)
        after.save(self.folder.checkpoint)
        self.folder.pending.unlink(missing_ok=True)
        say(self._line(row, merged.clients))
        return after

    def measure_end(self, state: Checkpoint, sums: SumRounds) -> Checkpoint:
        """Figures of the last round's model, where measuring rides along with training."""
        after, figures = sums.measured(state)
        self._measured_late(state.round, figures)
        after.save(self.folder.checkpoint)
        return after

    def _measured_late(self, round_: int, figures: Mapping[str, Any]) -> None:
        """Figures of a round's model, which came with the next one."""
        if not figures:
            return
        self.folder.add_figures(round_, figures)
        score = with_margin(figures[self.task.score], figures.get(f"{self.task.score}_margin"))
        say(f"{_named(round_, self.settings.rounds)}: {self.task.score} {score}")

    def _memory(self) -> dict[str, Any]:
        return {**self.strategy.memory(), **(self.sums.memory() if self.sums else {})}

    def _due(self, round_: int) -> bool:
        """Whether the model of this round is measured."""
        when = self.settings.federation.measure
        every = int(when.removeprefix("every:")) if when.startswith("every:") else 1
        return round_ == self.settings.rounds or (when != "last" and round_ % every == 0)

    def _merged(self, state: Checkpoint, start: float) -> Pending:
        """Train and merge the next round, or take up one whose noise is drawn already."""
        number, protection = state.round + 1, self.strategy.protection
        pending = Pending.load(self.folder.pending, state) if protection.noisy else None
        if pending is not None:
            self.strategy.recall(pending.after.memory)
            return pending
        protection.spend()
        self.strategy.on_reply = lambda partition, done, total: say(
            f"round {number}/{self.settings.rounds}: {done} of {total} clients, {time.perf_counter() - start:.0f} s"
        )
        messages = self.strategy.configure_train(number, to_arrays(state.parts), ConfigRecord(), self.grid)
        replies = self._in_turn(messages) if self.strategy.one_by_one else self._exchange(messages)
        arrays, trained = self.strategy.aggregate_train(number, replies)
        rows = self.strategy.rows
        if len(rows) == len(self.strategy.federation.members) and not self.strategy.memory()["joined"]:
            # All were asked, and nobody has trained yet: with these settings nobody will.
            raise BractError(f"round {number}: no client trains; client {rows[0].partition}: {rows[0].reason}")
        # Where all that were sampled abstained, the round leaves the factors as they are.
        parts = state.parts if arrays is None else to_parts(arrays)
        after = replace(state, round=number, parts=parts, memory=self.strategy.memory())
        merged = Pending(after, [asdict(row) for row in rows], dict(trained or {}), self.strategy.diagnostics)
        if protection.noisy:
            merged.save(self.folder.pending)
        self.state_privacy()  # before anybody is told of the result
        return merged

    def state_privacy(self, *, last: bool = False) -> None:
        """The statement, as far as the run has come."""
        if self.settings.privacy.unit == "none":
            return
        keeps = self.strategy.plan(1, self.strategy.federation.members[0]).keeps
        protection = self.strategy.protection
        spendings = protection.spendings(self.strategy.federation, self.settings.privacy)
        silent, measurings = protection.silent(), protection.measurings(self.settings.privacy)
        parameters = self.sums.parameters if self.sums is not None else None
        roster = self.sums is not None and self.sums.roster
        statement = privacy_report.statement(
            self.settings, spendings, keeps, silent, measurings, parameters=parameters, roster=roster, last=last
        )
        privacy_report.write(self.folder, statement)

    def _exchange(self, messages: Iterable[Message]) -> Iterable[Message]:
        return exchange(self.grid, messages, self.settings.federation.deadline)

    def _in_turn(self, messages: Iterable[Message]) -> Iterable[Message]:
        """One after the other, all within one deadline."""
        end = time.monotonic() + self.settings.federation.deadline
        for message in messages:
            yield from exchange(self.grid, [message], max(0.0, end - time.monotonic()))

    def _measure(self, state: Checkpoint) -> MetricRecord | None:
        if self.sums is not None or not self._due(state.round):
            return None
        configured = self.strategy.configure_evaluate(state.round, to_arrays(state.parts), ConfigRecord(), self.grid)
        return self.strategy.aggregate_evaluate(state.round, self._exchange(configured))

    def _row(
        self, number: int, trained: Mapping[str, Any], measured: MetricRecord | None, parts: Parts, seconds: float
    ) -> dict[str, Any]:
        found: dict[str, Any] = dict(measured or {})
        row: dict[str, Any] = {
            "round": number,
            "accuracy": None,
            "loss": None,
            **{name: found.get(name) for name in (self.task.score, "loss")},
            **{name: found[name] for name in (f"{self.task.score}_margin", "loss_margin") if name in found},
            "train_loss": trained.get("loss"),
            "clients": trained.get("clients", 0),
            "failed": trained.get("failed", 0),
            "abstained": trained.get("abstained", 0),
            "upload_bytes": trained.get("upload_bytes", 0),
            "download_bytes": trained.get("download_bytes", 0),
            "evaluate_bytes": found.get("download_bytes", 0),
            "upload_values": trained.get("upload_values", 0),
            "epsilon": spent(self.strategy, self.settings),
            "seconds": round(seconds, 3),
            **between_clients(self.task, [] if any(found.get("margins", [])) else found.get("scores", [])),
        }
        if self.evaluate is not None:
            row |= {f"test_{name}": value for name, value in self.evaluate.measure(parts).items()}
        return row

    def _line(self, row: dict[str, Any], clients: Iterable[Mapping[str, Any]] = ()) -> str:
        score = row[self.task.score]
        shown = "not measured" if score is None else with_margin(score, row.get(f"{self.task.score}_margin"))
        name = _named(row["round"], self.settings.rounds)
        lost = [f"client {c['partition']}: {c['reason']}" for c in clients if c["status"] in ("failed", "refused")]
        failed = f", {row['failed']} failed ({'; '.join(lost[:SHOWN])})" if lost else ""
        if self.sums is not None:
            return f"{name}: the sum of {row['clients']} clients, {row['seconds']:.1f} s{failed}"
        return f"{name}: {self.task.score} {shown}, {row['seconds']:.1f} s{failed}"


def _named(round_: int, rounds: int) -> str:
    return "before training" if round_ == 0 else f"round {round_}/{rounds}"


def spent(strategy: FederatedLora, settings: Settings) -> float | None:
    """The largest epsilon that a client has spent so far; None without privacy, or where one is not known."""
    protection, privacy = strategy.protection, settings.privacy
    trained, measured = protection.spendings(strategy.federation, privacy), protection.measurings(privacy)
    every = [*trained.values(), *measured.values()]
    return privacy_report.largest_epsilon(every, protection.silent(), privacy.epsilon) if every else None


def between_clients(task: Task, scores: Sequence[float]) -> dict[str, float | None]:
    """How the task's score differs from client to client, each client counting the same.

    The mean, the standard deviation, and the mean of the worst tenth (of at least one client).
    """
    names = [f"{task.score}_{what}" for what in ("mean", "std", "worst")]
    if not scores:
        return dict.fromkeys(names)
    worst = sorted(scores, reverse=not task.higher)[: ceil(len(scores) / 10)]
    return dict(zip(names, (fmean(sorted(scores)), pstdev(sorted(scores)), fmean(worst)), strict=True))


def summary(folder: RunFolder, settings: Settings) -> dict[str, Any]:
    """The last row's figures and the totals."""
    rows = folder.rounds()
    totals = {
        key: sum(row[key] for row in rows)
        for key in ("upload_bytes", "download_bytes", "evaluate_bytes", "upload_values", "seconds")
    }
    return {
        **rows[-1],
        **totals,
        "strategy": settings.strategy.name,
        "task": settings.model.task,
        "rounds": settings.rounds,
        "privacy": settings.privacy.unit,
        "noise": None if settings.privacy.unit == "none" else settings.privacy.noise,
        "sum": settings.federation.sum,
        "delta": None if settings.privacy.unit == "none" else settings.privacy.delta,
        "adapter": str(folder.adapter),
        "versions": {
            "bract": bract.__version__,
            **_versions("flwr", "numpy", "safetensors", "torch", "peft", "transformers"),
        },
    }


def _state(grid: Grid, settings: Settings, folder: RunFolder, joined: Joined) -> Checkpoint:
    """Where the run stands: at its checkpoint, or before its first round."""
    if settings.run.resume and folder.checkpoint.is_file():
        state = Checkpoint.load(folder.checkpoint)
        state.require(joined.identity(), joined.layout)
        if settings.rounds < state.round:
            raise BractError(f"rounds = {settings.rounds}: the run is at round {state.round} already")
        folder.forget_after(state.round)
        if not any(row["round"] == state.round for row in folder.rounds()):
            raise BractError(f"run.resume: {folder.path} has lost the row of round {state.round}")
        say(f"going on after round {state.round}")
        return state
    folder.forget_after(-1)  # rows of a run that was stopped before its first checkpoint
    parts = initial.draw(joined.layout, settings.seed, pooled=joined.card.pooling != "native")
    if joined.card.head_init == "labels":
        parts["head"] = first_head(grid, joined.members[0], joined.layout, settings.federation.deadline)
    return Checkpoint(0, secrets.token_hex(8), joined.layout, parts, joined.identity())


def _federation(settings: Settings, joined: Joined, name: str) -> Federation:
    return Federation(
        layout=joined.layout,
        members=joined.members,
        name=name,
        seed=settings.seed,
        fraction=settings.federation.fraction,
        quorum=settings.federation.quorum,
        task=task_of(settings.model.task),
        strategy=settings.strategy,
        head=head_mode(settings, joined.card.head_init),
        codec=settings.wire.codec,
        counts=settings.federation.sum == "plain"
        and (settings.privacy.unit == "none" or settings.privacy.share_metrics),
        mechanism=find_for_clients(settings.privacy, len(joined.members), settings.federation.fraction, settings.rounds)
        if settings.privacy.unit == "client" and settings.privacy.noise == "local"
        else None,
        summed=settings.federation.sum != "plain",
        test_seed=settings.privacy.test_seed,
    )


def _test_set(settings: Settings, joined: Joined) -> Any:
    if not settings.data.test:
        return None
    from server_app.evaluation import Evaluator  # torch only where it is asked for

    return Evaluator(settings, joined.outputs, joined.layout)


def _add_scores(clients: list[dict[str, Any]], measured: MetricRecord | None, task: Task) -> None:
    found: dict[str, Any] = dict(measured or {})
    figures = zip(found.get("scores", []), found.get("counts", []), found.get("margins", []), strict=True)
    by_client = dict(zip(found.get("partitions", []), figures, strict=True))
    for row in clients:
        row[task.score], row["held_out"], margin = by_client.get(row["partition"], (None, None, 0.0))
        if margin:
            row[f"{task.score}_margin"] = margin


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # the server does without the training packages
    return found
