"""Sending messages and taking replies one by one, as they arrive."""

import time
from collections.abc import Iterable, Iterator

from flwr.app import Message
from flwr.serverapp import Grid

from bract.errors import BractError

WORKER_DIED = 0  # Flower's code for what is no exception of the app: in simulation, a dead worker
PAUSE = (0.02, 0.5)  # seconds between two looks: the first, and at most


def exchange(grid: Grid, messages: Iterable[Message], deadline: float) -> Iterator[Message]:
    """Send now, then yield replies until all are in or the deadline has passed.

    A worker process that died is an error at once: Flower gives it further clients, which would
    all fail without a word.
    """
    waiting = {message_id for message_id in grid.push_messages(messages) if message_id}
    return _replies(grid, waiting, deadline)


def _replies(grid: Grid, waiting: set[str], deadline: float) -> Iterator[Message]:
    end = time.monotonic() + deadline
    pause = PAUSE[0]
    while waiting and time.monotonic() < end:
        replies = list(grid.pull_messages(waiting))
        for reply in replies:
            waiting.discard(reply.metadata.reply_to_message_id)
            if reply.has_error() and reply.error.code == WORKER_DIED:
                raise BractError(
                    "a worker process died, most likely for want of memory; use fewer workers or a "
                    f"smaller train.batch ({' '.join((reply.error.reason or 'no reason given').split())[:200]})"
                )
            yield reply
        pause = PAUSE[0] if replies else min(pause * 1.5, PAUSE[1])
        if waiting:
            time.sleep(pause)
