"""Sending messages and taking replies one by one, as they arrive."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from flwr.app import Error, Message
from flwr.serverapp import Grid

from bract.errors import BractError
from bract.flower.grid import between_machines

NODE_LOST = 5  # Flower's code for a node that went away before it answered
UNSENT = (
    "its node has left; started again without a key it is another node, which takes part when the run is resumed "
    "(or the message is too large for the SuperLink)"
)
WORKER_DIED = 0  # Flower's code for what is no exception of the app: in simulation, a dead worker
PAUSE = (0.02, 0.5)  # seconds between two looks: the first, and at most
AT_ONCE = 16  # replies fetched in one call: so many are in memory at a time, however many are ready


def exchange(
    grid: Grid, messages: Iterable[Message], deadline: float, enough: Callable[[], bool] = lambda: False
) -> Iterator[Message]:
    """Send now, then yield replies until all are in, or enough of them, or the deadline has passed.

    In simulation a worker process that died is an error at once: Flower gives it further clients,
    which would all fail without a word. Across machines a node's fault is its own.
    """
    sent = list(messages)
    ids = list(grid.push_messages(sent)) or [""] * len(sent)
    refused = [message for message, message_id in zip(sent, ids, strict=True) if not message_id]
    waiting = {message_id for message_id in ids if message_id}
    return chain(map(_unsent, refused), _replies(grid, waiting, time.monotonic() + deadline, enough))


def _unsent(message: Message) -> Message:
    """The reply to a message that Flower did not take."""
    return Message(Error(NODE_LOST, UNSENT), reply_to=message)


def _replies(grid: Grid, waiting: set[str], end: float, enough: Callable[[], bool]) -> Iterator[Message]:
    pause = PAUSE[0]
    while waiting and time.monotonic() < end and not enough():
        found = False
        for reply in take(grid, waiting):
            found = True
            waiting.discard(reply.metadata.reply_to_message_id)
            yield reply
        pause = PAUSE[0] if found else min(pause * 1.5, PAUSE[1])
        if waiting:
            time.sleep(pause)


def take(grid: Grid, waiting: Iterable[str]) -> Iterator[Message]:
    """One look at what has arrived, a few replies at a time."""
    names = iter(sorted(waiting))
    while some := list(islice(names, AT_ONCE)):
        replies = list(grid.pull_messages(some))[::-1]
        while replies:
            reply = replies.pop()  # from the end, so that nothing holds on to it afterwards
            if reply.has_error() and reply.error.code == WORKER_DIED and not between_machines(grid):
                raise BractError(
                    "a worker process died, most likely for want of memory; use fewer workers or a smaller "
                    f"train.batch ({reply.error.reason or 'no reason given'})"
                )
            yield reply
