"""Is the server's memory flat? Merging 50 and 1,000 replies of 1.2 MB, each count in a process of its own.

All replies are ready at once, as after a round of fast clients, and are fetched as the server fetches them.

Prints peak memory, and seconds a reply beside a plain numpy add of the same size.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bract.adapter.layout import Layout, Module
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import METRICS, PAYLOAD, REPORT, payload_record
from bract.wire.payload import Payload, pack
from server_app.transport import exchange
from strategies import Federation, Member, create
from strategies.federation import to_arrays
from tests.flower.messages import identify, stamp

LAYOUT = Layout(tuple(Module(f"m{i}", 768, 768) for i in range(24)), rank=16)  # B: 294,912 values, 1.18 MB


def one(count: int) -> None:
    """Merge `count` replies as they come, and print what it took as JSON."""
    identify()
    strategy = create(
        "ffa", Federation(LAYOUT, tuple(Member(i, i) for i in range(count)), "bench", task=CLASSIFICATION)
    )
    size = LAYOUT.size("B")
    arrays = to_arrays({"A": np.zeros(LAYOUT.size("A"), np.float32), "B": np.zeros(size, np.float32)})
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    spent = 0.0

    class ReadyGrid:
        """All replies are ready at once; each is made when it is fetched. As much of a grid as is used here."""

        def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
            return [message.metadata.message_id for message in messages]

        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            return list(replies(set(message_ids)))

    def replies(wanted: set[str]) -> Iterator[Message]:
        nonlocal spent
        for i, message in enumerate(messages):
            if message.metadata.message_id not in wanted:
                continue
            start = time.perf_counter()
            content = RecordDict(
                {
                    REPORT: ConfigRecord({"status": "done"}),
                    PAYLOAD: payload_record(pack(LAYOUT, Payload(1, {"B": values + np.float32(i)}))),
                    METRICS: MetricRecord({"examples": 5, "steps": 1, "loss": 1.0, "seconds": 1.0, "busy": 1.0}),
                }
            )
            reply = stamp(Message(content, reply_to=message), reply_to_message_id=message.metadata.message_id)
            spent += time.perf_counter() - start  # making the reply is the client's work
            yield reply

    grid = cast(Grid, ReadyGrid())
    messages = list(strategy.configure_train(1, arrays, ConfigRecord(), grid))
    for i, message in enumerate(messages):
        stamp(message, message_id=f"m{i}")
    start = time.perf_counter()
    strategy.aggregate_train(1, exchange(grid, messages, 600))
    merging = (time.perf_counter() - start - spent) / count
    total = np.zeros(size, np.float32)
    start = time.perf_counter()
    for _ in range(count):
        total += values
    adding = (time.perf_counter() - start) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"replies": count, "peak_mb": peak, "merge_ms": merging * 1e3, "add_ms": adding * 1e3}))


def measured(count: int) -> dict[str, float]:
    """The same in a process of its own: peak memory is a process's."""
    command = [sys.executable, __file__, str(count)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Print the table."""
    rows = [measured(count) for count in (50, 1000)]
    print(f"replies of {4 * LAYOUT.size('B') / 1e6:.2f} MB\n")
    print("replies   peak memory   a reply: checked and merged   a plain numpy add")
    for row in rows:
        print(
            f"{row['replies']:>7}   {row['peak_mb']:>8.0f} MB   {row['merge_ms']:>24.2f} ms   {row['add_ms']:>14.2f} ms"
        )
    print(f"\ndifference in peak memory: {rows[1]['peak_mb'] - rows[0]['peak_mb']:+.1f} MB")


if __name__ == "__main__":
    one(int(sys.argv[1])) if len(sys.argv) > 1 else main()
