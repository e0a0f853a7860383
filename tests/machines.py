"""A federation of real processes on loopback: a SuperLink, SuperNodes, `bract run`. All of them end with the test."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil

from bract.processes import QUIET, die_with_parent, free_port
from bract.results.run_folder import read_rows
from bract.settings.flat import toml
from server_app.checkpoint import Checkpoint

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
ROOMS = ("bract", "client_app", "server_app", "strategies")
MISBEHAVE = Path(__file__).parent / "faults" / "misbehave.py"

Process = subprocess.Popen[bytes]
Found = TypeVar("Found")


def until(condition: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """What the condition gives as soon as that is something; an error if that takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {seconds} seconds")


class Machines:
    """What one test starts. `home` is unique to it, so every process that inherits it can be found and ended."""

    def __init__(self, folder: Path, *, keys: Path | None = None) -> None:
        self.folder, self.port, self.keys = folder, free_port(), keys
        self.home = Path(os.environ["BRACT_HOME"])
        (folder / "flwr").mkdir()
        trust = "insecure = true" if keys is None else f'root-certificates = "{keys / "ca.crt"}"'
        (folder / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\n{trust}\n'
        )
        self.environment = {
            **os.environ,
            **QUIET,
            "FLWR_HOME": str(folder / "flwr"),
            "FAULTS_HOME": str(folder),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        }

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self.processes(), 10)

    def processes(self) -> list[psutil.Process]:
        """All living processes of this test, also those whose parent is dead."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = process.environ().get("FAULTS_HOME") == str(self.folder)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def start(self, name: str, *words: object, more: Mapping[str, str] | None = None) -> Process:
        """A process with its log in a file of its own, which is appended to when it is started again."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        with (place / "log").open("a") as log:
            return subprocess.Popen(
                [str(BIN / str(words[0])), *map(str, words[1:])],
                cwd=place,
                env={**self.environment, **(more or {})},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def log(self, name: str) -> str:
        return (self.folder / name / "log").read_text(errors="replace")

    def link(self, *words: object) -> Process:
        """A SuperLink, listening."""
        keys = self.keys
        trust = ["--insecure"]
        if keys is not None:
            files = {"ca-certfile": "ca.crt", "certfile": "server.crt", "keyfile": "server.key"}
            trust = [f"--ssl-{option}={keys / name}" for option, name in files.items()] + ["--enable-supernode-auth"]
        process = self.start("link", "flower-superlink", *trust, "--host", "127.0.0.1", "--port", self.port, *words)
        until(lambda: process.poll() is not None or listens(self.port), 60, "the SuperLink listens")
        return process

    def node(
        self,
        partition: int,
        of: int,
        config: str = "",
        *,
        name: str = "",
        command: Sequence[str] = ("bract", "node"),
        trust: Sequence[object] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Process:
        """A node; `config` is what its operator adds to its configuration. One with a fault has code of its own."""
        name = name or f"node{partition}"
        if "fault=" in config:
            code = self.folder / "misbehaving"
            more = {"PYTHONPATH": str(code if code.exists() else misbehaving(code)), **(more or {})}
        if trust is None and self.keys is None:
            trust = ["--insecure"]
        elif trust is None:
            assert self.keys is not None
            key = self.keys / "nodes" / name
            trust = ["--root-certificates", self.keys / "ca.crt", "--auth-supernode-private-key", key]
        where = ["--superlink", f"127.0.0.1:{self.port}", "--port", free_port()]
        who = ["--node-config", f'partition-id={partition} num-partitions={of} shared-data="/" {config}']
        return self.start(name, *command, *trust, *where, *who, more=more)

    def submit(self, values: Mapping[str, Any], name: str = "submit") -> Process:
        """`bract run` of these settings."""
        file = self.folder / f"{name}.toml"
        file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
        return self.start(name, "bract", "run", ROOT, "--superlink", "here", "-c", file)

    def said(self) -> str:
        """All that the runs' own logs hold, which `bract run` keeps whole."""
        return "".join(path.read_text() for path in sorted((self.home / "logs").glob("*.log")))

    def server_app(self) -> psutil.Process | None:
        """The process of the ServerApp."""
        return next((p for p in self.processes() if any("flwr-serverapp" in word for word in cmdline(p))), None)

    def under(self, name: str) -> list[psutil.Process]:
        """What lives of one of `start`'s processes and all that came of it: they share its working folder."""
        place = self.folder / name
        found: list[psutil.Process] = []
        for process in self.processes():
            with suppress(psutil.Error):
                found += [process] * (process.cwd() == str(place))
        return found

    def register(self, *nodes: int) -> None:
        """Tell the SuperLink of nodes' keys."""
        assert self.keys is not None
        for i in nodes:
            words = ["supernode", "register", str(self.keys / "nodes" / f"node{i}.pub"), "here"]
            subprocess.run([BIN / "flwr", *words], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def node_id(self, name: str) -> str:
        found = re.search(r"SuperNode ID: (\d+)", self.log(name))
        assert found, self.log(name)
        return found[1]

    def stated(self) -> dict[str, Any]:
        stated: dict[str, Any] = json.loads((self.folder / "run" / "privacy.json").read_text())
        return stated

    def flag(self, name: str) -> Path:
        """A file by which a misbehaving client tells that it has come to a place, or is told to go on."""
        return self.folder / f"flag-{name}"

    def ledgers(self) -> dict[str, list[dict[str, Any]]]:
        """The entries of all ledgers, by file."""
        paths = sorted((self.home / "ledger").glob("*.json"))
        return {path.name: json.loads(path.read_text())["entries"] for path in paths}


def misbehaving(folder: Path) -> Path:
    """An installation of Bract whose clients do what their node's configuration says under `fault`."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "client_app" / "app.py").rename(folder / "client_app" / "honest.py")
    shutil.copy(MISBEHAVE, folder / "client_app" / "app.py")
    return folder


def make_keys(folder: Path, nodes: int = 3) -> Path:
    """A server's certificate and nodes' keys, by Bract's own command."""
    keys = [["node", str(folder / "nodes" / f"node{i}")] for i in range(nodes)]
    for more in [["server", str(folder), "--host", "127.0.0.1"], *keys]:
        subprocess.run([str(BIN / "bract"), "keys", *more], check=True, stdout=subprocess.DEVNULL)
    return folder


def cmdline(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
        return words
    except psutil.Error:
        return []


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill(process: Process | psutil.Process) -> None:
    """Kill this one process, as the kernel does when memory ends, and what it leaves must end by itself."""
    process.send_signal(signal.SIGKILL)
    if isinstance(process, subprocess.Popen):
        process.wait(10)  # one that nobody waits for would still seem to live


def rows(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "rounds.jsonl")


def clients(folder: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """What became of every client in every round, by (partition, round)."""
    return {(row["partition"], row["round"]): row for row in read_rows(folder / "clients.jsonl")}


def parts(folder: Path) -> tuple[int, dict[str, bytes]]:
    """The factors of a run's checkpoint, as bytes."""
    state = Checkpoint.load(folder / "checkpoint" / "state.safetensors")
    return state.round, {part: values.tobytes() for part, values in state.parts.items()}
