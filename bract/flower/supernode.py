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
from collections.abc import Mapping, Sequence
from pathlib import Path

from bract.errors import BractError
from bract.flower import keys, own_key
from bract.flower.roster import NODE_KEY
from bract.processes import QUIET, die_with_parent, end, free_port, tool

PAUSE = 1.0  # seconds before a trainer that ended is started again
OURS = ("isolation", "superexec-auth-secret-file", "ssl-certfile", "ssl-keyfile", "ssl-ca-certfile")


def run(arguments: Sequence[str]) -> int:
    """Start both, and end both when the SuperNode ends or this process is told to; its exit code."""
    rest, host, port = parsed(arguments)
    rest, policy = with_policy(rest)
    if policy:
        _require_right(policy)
    keys.require_private_files("node", rest, keys.NODE_FILES)
    own_key.require_on_roster(rest)
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
    told = told_to_trainer(rest)
    trainer = [sys.executable, "-P", "-m", "client_app.flower.trainer", address, str(secret)]

    def stopped(*_: object) -> None:
        raise SystemExit(0)  # it does as it is told

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)
    running: list[subprocess.Popen[bytes]] = []
    try:
        running = [_start(node, {})]
        running.append(_start(trainer, told))
        while (code := running[0].poll()) is None:
            if running[1].poll() is not None:
                time.sleep(PAUSE)
                running[1] = _start(trainer, told)
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


def with_policy(words: Sequence[str]) -> tuple[list[str], str]:
    """Flower's words with `--policy FILE` put into the node's configuration, and the file's absolute path."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--policy")
    parser.add_argument("--node-config", default="")
    options, rest = parser.parse_known_args(list(words))
    if options.policy is None:
        return list(words), ""
    path = str(Path(options.policy).resolve())
    if '"' in path:
        raise BractError(f"--policy {path!r}: a path with a quotation mark does not fit into the node's configuration")
    return [*rest, "--node-config", f'{options.node_config} policy="{path}"'.strip()], path


def told_to_trainer(words: Sequence[str]) -> dict[str, str]:
    """What the trainer is told of its node, in its environment: that it is a real one, and of which SuperLink.

    And where the node's own key lies, if it has one: by that word alone, never by a message.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--superlink", default="unknown")
    told = {"BRACT_NODE": "1", "BRACT_SUPERLINK": parser.parse_known_args(list(words))[0].superlink}
    key = own_key.path_of(words)
    return told if key is None else {**told, NODE_KEY: str(key)}


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a process of the node finds in its environment: this one's and more; of a key, only what more says."""
    return {**{name: value for name, value in os.environ.items() if name != NODE_KEY}, **QUIET, **more}


def _require_right(policy: str) -> None:
    """Explain the policy in the node's log, or say what is wrong with it and do not start."""
    command = [sys.executable, "-P", "-m", "client_app.policy.explain", "check", policy]
    if subprocess.run(command, env={**os.environ, **QUIET}, check=False).returncode:
        raise BractError(f"--policy {policy}: it is not one that this node can obey")


def _start(command: Sequence[str], more: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        env=environment(more),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
