"""Flower's deployment runtime on this machine's loopback: a SuperLink, nodes, and who starts runs. For benchmarks."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bract.processes import QUIET, die_with_parent, end, free_port, tool

HOST = "127.0.0.1"
BRACT = [sys.executable, "-m", "bract.cli"]


class Loopback:
    """Processes that end with the stack; each has a folder of its own, and one thread."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place, self._stack, self.port = place, stack, free_port()
        (place / "flwr").mkdir()
        (place / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{HOST}:{self.port}"\ninsecure = true\n'
        )
        paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"FLWR_HOME": str(place / "flwr"), "BRACT_HOME": str(place / "home"), "PATH": paths}
        self.environment = {**os.environ, **QUIET, **own, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}

    def start(self, name: str, *words: object, listen: Callable[[str], None] = lambda line: None) -> None:
        """A process; `listen` hears its lines."""
        (self.place / name).mkdir()
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=self.place / name,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self._stack.callback(end, process)

        def hear() -> None:
            for line in process.stdout or ():
                listen(line)

        threading.Thread(target=hear, daemon=True).start()

    def link(self) -> None:
        """The SuperLink."""
        self.start("link", tool("flower-superlink"), "--insecure", "--host", HOST, "--port", self.port)
        time.sleep(5)

    def node(self, kind: str, i: int, of: int, listen: Callable[[str], None] = lambda line: None) -> None:
        """A node: Bract's (`bract node`), or Flower's own."""
        command = [*BRACT, "node"] if kind == "bract node" else [tool("flower-supernode")]
        where = ["--superlink", f"{HOST}:{self.port}", "--port", free_port()]
        who = ["--node-config", f'partition-id={i} num-partitions={of} shared-data="/"']
        self.start(f"node{i}", *command, "--insecure", *where, *who, listen=listen)

    def call(self, *words: object) -> str:
        """A command that must succeed; what it printed."""
        done = subprocess.run(
            [str(word) for word in words],
            cwd=self.place,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout
