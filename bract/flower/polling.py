"""Flower's SuperNode, asking sooner for the next message: `python -m bract.flower.polling PATH/flower-supernode ...`.

Flower 1.41's SuperNode asks its SuperLink for a message every three seconds, and looks for the answer of its own
trainer every half second. A round is two messages, so nodes wait for six seconds of it, whatever they train. Here it
asks several times a second for a while after it has answered, when the next message is likely to come, and every
three seconds otherwise. With many nodes it asks less often, as all ask one SuperLink.
"""

import re
import runpy
import sys
import time
from typing import Any

from flwr.supernode import start_client_internal

LOOK = 0.05  # seconds between two looks for the trainer's answer, which is on this machine
WHILE = 30.0  # seconds after an answer in which it asks more often


class Clock:
    """`time`, with sleeps of its own."""

    def __init__(self, soon: float) -> None:
        self.soon = soon
        self._answered = float("-inf")

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Flower sleeps below a second while a message is answered, and longer where there is none."""
        if seconds < 1:
            self._answered = time.monotonic()
            time.sleep(min(seconds, LOOK))
        else:
            time.sleep(min(seconds, self.soon if time.monotonic() - self._answered < WHILE else seconds))


def soon(words: list[str]) -> float:
    """Seconds between two questions, for as many nodes as the node's configuration says there are."""
    told = re.search(r"num-partitions=(\d+)", " ".join(words))
    return 0.2 + 0.01 * (int(told[1]) if told else 100)


if __name__ == "__main__":
    script, *rest = sys.argv[1:]
    setattr(start_client_internal, "time", Clock(soon(rest)))  # noqa: B010 - mypy would not have a module replaced
    sys.argv = [script, *rest]
    runpy.run_path(script, run_name="__main__")
