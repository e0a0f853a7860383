"""`bract node`: Flower's SuperNode and, beside it, a trainer that keeps the model between messages."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bract.launch import QUIET, die_with_parent, end, tool

PAUSE = 1.0  # seconds before a trainer that ended is started again


def run(arguments: Sequence[str]) -> int:
    """Start both, and end both when the SuperNode ends or this process is told to; its exit code."""
    place = Path(tempfile.mkdtemp(prefix="bract-"))  # for its owner alone
    environment = {**os.environ, **QUIET, "BRACT_WORKER": str(place / "worker")}
    words = [sys.executable, "-P", "-m", "client_app.resident", environment["BRACT_WORKER"]]

    def start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent
        )

    def told(*_: object) -> None:
        raise SystemExit(0)  # it does as it is told

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    running: list[subprocess.Popen[bytes]] = []
    try:
        running = [start([str(tool("flower-supernode")), *arguments])]
        running.append(start(words))
        while (code := running[0].poll()) is None:
            if running[1].poll() is not None:
                time.sleep(PAUSE)
                running[1] = start(words)
            time.sleep(0.1)
        return code
    finally:
        for process in running:
            end(process)
        shutil.rmtree(place, ignore_errors=True)
