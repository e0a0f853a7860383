"""The same app, unchanged, on Flower's deployment runtime: a SuperLink and SuperNodes on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bract.launch import QUIET
from bract.runfolder import read_rows
from bract.settings import read, toml
from server_app.checkpoint import Checkpoint
from server_app.rounds import run
from tests.harness import InProcessGrid

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def started(environment, folder, *words):
    """A process that ends with the block, and with it what it started."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / words[0]), *map(str, words[1:])], cwd=folder, env=environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
                process.wait(15)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def listening(port):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on {port}")


@pytest.mark.long
@pytest.mark.parametrize("command", [["flower-supernode"], ["bract", "node"]], ids=["supernode", "node"])
def test_a_deployment_gives_the_same_bits_as_this_process(tmp_path, config, command):
    values = config({"strategy.name": "fedit", "federation.deadline": 300.0, "run.folder": str(tmp_path / "run")})
    link_port, *node_ports = free_ports(3)
    environment = {
        **os.environ, **QUIET, "FLWR_HOME": str(tmp_path / "flwr"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    (tmp_path / "flwr").mkdir()
    (tmp_path / "flwr" / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{link_port}"\ninsecure = true\n'
    )
    file = tmp_path / "run.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
    link = ("flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", link_port)
    with started(environment, tmp_path / "link", *link):
        listening(link_port)
        nodes = [
            started(
                environment, tmp_path / f"node{i}", *command, "--insecure", "--superlink",
                f"127.0.0.1:{link_port}", "--port", port, "--node-config", f"partition-id={i} num-partitions=2",
            )
            for i, port in enumerate(node_ports)
        ]  # fmt: skip
        with nodes[0] as one, nodes[1] as two:
            done = subprocess.run(
                [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--superlink", "here", "-c", str(file)],
                cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=500, check=False,
            )  # fmt: skip
            under = [child for node in (one, two) for child in psutil.Process(node.pid).children(recursive=True)]
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [(tmp_path / f"node{i}" / "log").read_text() for i in (0, 1)]
    for log in logs:
        told = [line for line in log.splitlines() if line.startswith("\x1b")]  # once each; a library tells them again
        assert sum("resident trainer ready" in line for line in told) == len(command) - 1
        # Once in a process: the trainer stays, Flower's own processes last for a round.
        assert sum("training by the fused engine" in line for line in told) == (1 if len(command) > 1 else 2)
    assert not psutil.wait_procs(under, 15)[1]
    deployed = Checkpoint.load(tmp_path / "run" / "checkpoint" / "state.safetensors")
    here = config({"strategy.name": "fedit", "run.folder": str(tmp_path / "here")})
    folder = run(InProcessGrid(2, here), read(here))
    state = Checkpoint.load(folder.checkpoint)
    assert all((state.parts[p] == deployed.parts[p]).all() for p in ("A", "B", "head"))
    one, two = folder.rounds(), read_rows(tmp_path / "run" / "rounds.jsonl")
    assert [r["accuracy"] for r in one] == [r["accuracy"] for r in two]
