"""What clients measured on held-out examples, put together: exactly, or with the margin that their noise leaves."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flwr.app import Message, MetricRecord, RecordDict

from bract.errors import BractError
from bract.log import log
from bract.privacy.spending import PrivacySpending
from bract.secure_sum.rounds import sums_of
from bract.tasks.task import Figures, Sums, Task
from bract.wire import messages
from strategies.federation import Member
from strategies.replies import MAX_EXAMPLES, reason

WARNING = 30
MAX_NOISE = 1e4  # multiplier that is believed
WIDTH = 1.96  # standard deviations to either side: a margin holds 95 times in 100

Heard = Callable[[int, PrivacySpending | None], None]


@dataclass(frozen=True)
class Told:
    """One client's sums, and the standard deviation of the noise in each: none where they are exact."""

    sums: Sums
    spread: Sums | None = None


def measured(
    replies: Iterable[Message], asked: Sequence[tuple[Message, Member]], task: Task, heard: Heard
) -> MetricRecord:
    """The task's figures over all held-out examples of the clients that answered.

    `partitions`, `scores` and `counts` give each client's own, in order, and `margins` those of the scores. Where
    nobody held anything out there are no figures, but what was sent down for it is still counted.
    """
    waiting = {m.metadata.message_id: member.partition for m, member in asked}
    told: dict[int, Told] = {}
    for reply in replies:
        partition = waiting.pop(reply.metadata.reply_to_message_id, None)
        if partition is None:
            continue
        try:
            if reply.has_error():
                raise BractError(reason(reply))
            spending = messages.privacy_spending(reply.content)
            heard(partition, spending)
            found = _told(reply.content, task, spending)
        except Exception as error:
            why = str(error) if isinstance(error, BractError) else f"malformed ({type(error).__name__})"
            log(WARNING, "client %s could not measure: %s", partition, why)
            continue
        if found:
            told[partition] = found
    sent = sum(messages.payload_bytes(m) for m, _ in asked)
    whole = together(list(told.values()), task)
    figures = figures_of(whole, task)
    if not figures:
        return MetricRecord({"download_bytes": sent})
    noisy = whole.spread is not None
    own = {p: figures_of(one, task) for p, one in sorted(told.items())}
    shown = [p for p in own if own[p]]
    return MetricRecord(
        {
            **figures,
            **{f"{name}_margin": value for name, value in margins(whole, task).items() if noisy},
            "examples": max(0, round(whole.sums["examples"])),
            "download_bytes": sent,
            "partitions": shown,
            "scores": [own[p][task.score] for p in shown],
            "counts": [max(0, round(told[p].sums["examples"])) for p in shown],
            "margins": [margins(told[p], task)[task.score] for p in shown],
        }
    )


def together(told: Sequence[Told], task: Task) -> Told:
    """The sums of all, and the noise in them."""
    names = ("examples", *task.sums)
    sums = {name: math.fsum(one.sums[name] for one in told) for name in names}
    noisy = [one.spread for one in told if one.spread is not None]
    if not noisy:
        return Told(sums)
    return Told(sums, {name: math.sqrt(math.fsum(spread[name] ** 2 for spread in noisy)) for name in names})


def told_of(figures: Sequence[int], spendings: Iterable[PrivacySpending], task: Task) -> Told:
    """What was measured by all members together, and how far noise may have moved each sum."""
    sums, known = sums_of(figures, task), list(spendings)
    if not known:
        sums["examples"] = float(round(sums["examples"]))
        return Told(sums)
    if not all(0 < one.sigma < MAX_NOISE for one in known):
        raise BractError("noise of measuring is out of bounds")
    width = math.sqrt(len(sums))  # of one example's part in all sums, each in parts of its clip
    spread = math.sqrt(math.fsum((one.sigma * width) ** 2 / max(one.honest, 1) for one in known))
    return Told(sums, {"examples": spread, **{name: spread * bound.clip for name, bound in task.sums.items()}})


def figures_of(told: Told, task: Task) -> Figures:
    """The task's figures; none where there are no examples, as far as the noise lets that be told.

    A sum that noise has pushed beyond what so many examples can have is taken at that bound.
    """
    examples = told.sums["examples"]
    if examples < 1:
        return {}
    if told.spread is None:
        return task.figures(told.sums)
    within = {name: min(max(told.sums[name], 0.0), bound.most * examples) for name, bound in task.sums.items()}
    return task.figures({"examples": examples, **within})


def margins(told: Told, task: Task) -> Figures:
    """How far each figure may be off by the noise in its sums, 95 times in 100: to first order; else 0."""
    figures = figures_of(told, task)
    if told.spread is None:
        return dict.fromkeys(figures, 0.0)
    moved = []
    for name, deviation in told.spread.items():
        step = min(deviation, 0.01 * told.sums["examples"])  # small, to either side, and then scaled up
        ends = [task.figures({**told.sums, name: told.sums[name] + way * step}) for way in (1, -1)]
        moved.append({figure: (ends[0][figure] - ends[1][figure]) / (2 * step) * deviation for figure in figures})
    return {figure: WIDTH * math.sqrt(math.fsum(one[figure] ** 2 for one in moved)) for figure in figures}


def _told(content: RecordDict, task: Task, spending: PrivacySpending | None) -> Told | None:
    """What one client has measured; None if it abstained."""
    if messages.report(content)[0] == "abstained":
        return None
    if spending is None:
        return Told(_exact(content, task))
    if not 0 < spending.sigma < MAX_NOISE:
        raise BractError("it measured with noise that is out of bounds")
    clips = {"examples": 1.0, **{name: bound.clip for name, bound in task.sums.items()}}
    deviation = spending.sigma * math.sqrt(len(clips))
    sums = {name: messages.noisy_metric(content, name, MAX_EXAMPLES) for name in clips}
    return Told(sums, {name: deviation * clip for name, clip in clips.items()})


def _exact(content: RecordDict, task: Task) -> Sums:
    examples = messages.count(content, "examples", MAX_EXAMPLES)
    if not examples:
        raise BractError("it measured no examples and did not abstain")
    sums: Sums = {"examples": examples}
    for name, bound in task.sums.items():
        most = bound.most * examples
        sums[name] = messages.count(content, name, int(most)) if bound.whole else messages.metric(content, name, most)
    return sums
