"""Processes that Bract starts: where Flower's commands are, a free port, and how to end them."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from bract.errors import BractError

# What every process of Flower's is started with.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # it runs in the environment it is started from
    "RAY_USAGE_STATS_ENABLED": "0",
}


def tool(name: str) -> Path:
    """A command of Flower's, of the environment that Bract itself runs in."""
    path = Path(sys.executable).parent / name
    if not path.is_file():
        found = shutil.which(name)
        if found is None:
            raise BractError(f"there is no command {name}; install Bract with its dependencies")
        path = Path(found)
    return path


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on, for a server that is started at once."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """For a new process: Linux ends it when the one that started it dies, however that dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End a process that leads a group, and what it started: first politely."""
    for sign, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
