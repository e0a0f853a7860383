"""`bract node`: Flower's SuperNode and, beside it, a trainer that keeps the model between messages."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from bract.launch import QUIET, tool

PAUSE = 1.0  # seconds before a trainer that ended is started again


def run(arguments: Sequence[str]) -> int:
    """Start both, and end both when the SuperNode ends or this process is told to; its exit code."""
    place = Path(tempfile.mkdtemp(prefix="bract-"))  # for its owner alone
    environment = {**os.environ, **QUIET, "BRACT_WORKER": str(place / "worker")}
    words = [sys.executable, "-P", "-m", "client_app.resident", environment["BRACT_WORKER"]]
    trainer = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL)
    node = subprocess.Popen([str(tool("flower-supernode")), *arguments], env=environment, stdin=subprocess.DEVNULL)

    def told(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            node.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    try:
        while node.poll() is None:
            if trainer.poll() is not None:
                time.sleep(PAUSE)
                trainer = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL)
            time.sleep(0.1)
        return node.returncode
    finally:
        for process in (node, trainer):
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(place, ignore_errors=True)
