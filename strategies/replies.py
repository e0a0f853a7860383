"""Putting together what clients measured."""

from collections.abc import Iterable, Sequence
from math import fsum

from flwr.app import Message, MetricRecord

from bract.errors import BractError
from bract.log import log
from bract.wire import messages
from strategies.federation import Member, reason

WARNING = 30
MAX_EXAMPLES = 10**9  # keeps sums exact; it does not stop a client from claiming more than it has


def measured(replies: Iterable[Message], asked: Sequence[tuple[Message, Member]]) -> MetricRecord:
    """Accuracy and mean loss over all held-out examples of the clients that answered.

    `partitions`, `correct` and `counts` give each client's figures, in order. Where nobody held
    anything out there is no accuracy, but what was sent down for it is still counted.
    """
    waiting = {m.metadata.message_id: member.partition for m, member in asked}
    found: list[tuple[int, int, int, float]] = []
    for reply in replies:
        partition = waiting.pop(reply.metadata.reply_to_message_id, None)
        if partition is None:
            continue
        try:
            figures = _figures(reply)
        except Exception as error:
            why = str(error) if isinstance(error, BractError) else f"malformed ({type(error).__name__})"
            log(WARNING, "client %s could not measure: %s", partition, why)
            continue
        if figures:
            found.append((partition, *figures))
    sent = sum(messages.payload_bytes(m) for m, _ in asked)
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


def _figures(reply: Message) -> tuple[int, int, float] | None:
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
