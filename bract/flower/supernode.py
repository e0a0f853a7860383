"""`bract node`: Flower's SuperNode and, beside it, a trainer that keeps the model and runs no code but its own."""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bract.errors import BractError
from bract.flower import keys
from bract.processes import QUIET, die_with_parent, end, free_port, tool

PAUSE = 1.0  # seconds before a trainer that ended is started again
OURS = ("isolation", "superexec-auth-secret-file", "ssl-certfile", "ssl-keyfile", "ssl-ca-certfile")


def run(arguments: Sequence[str]) -> int:
    """Start both, and end both when the SuperNode ends or this process is told to; its exit code."""
    rest, host, port = parsed(arguments)
    keys.require_private_files("node", rest, keys.NODE_FILES)
    supernode = tool("flower-supernode")
    place = Path(tempfile.mkdtemp(prefix="bract-"))  # for its owner alone
    secret = place / "secret"  # whoever knows it may take this node's messages
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(32))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    node = [
        sys.executable,
        "-P",
        "-m",
        "bract.flower.polling",
        str(supernode),
        *rest,
        "--host",
        host,
        "--port",
        str(port),
        "--isolation",
        "process",
        "--superexec-auth-secret-file",
        str(secret),
    ]
    trainer = [sys.executable, "-P", "-m", "client_app.flower.trainer", address, str(secret)]

    def told(*_: object) -> None:
        raise SystemExit(0)  # it does as it is told

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    running: list[subprocess.Popen[bytes]] = []
    try:
        running = [_start(node)]
        running.append(_start(trainer))
        while (code := running[0].poll()) is None:
            if running[1].poll() is not None:
                time.sleep(PAUSE)
                running[1] = _start(trainer)
            time.sleep(0.1)
        return code
    finally:
        for process in running:
            end(process)
        shutil.rmtree(place, ignore_errors=True)


def parsed(arguments: Sequence[str]) -> tuple[list[str], str, int]:
    """What goes to Flower as it is, and where the SuperNode serves its trainer: on loopback, at any free port."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    for name in OURS:
        parser.add_argument(f"--{name}", dest=name)
    options, rest = parser.parse_known_args(list(arguments))
    for name in OURS:
        if getattr(options, name) is not None:
            raise BractError(f"--{name}: bract node sets it by itself, for the trainer beside the SuperNode")
    return rest, options.host, options.port or free_port(options.host)


def _start(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        env={**os.environ, **QUIET},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
