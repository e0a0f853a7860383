"""The audit's messages between real processes on loopback: `bract link`, a `bract node` a client, and the attacker."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.audit_attack import Told
from benchmarks.audit_clients import Audit, asked_of, settings_of, write_data
from benchmarks.audit_server import SUMS, load, save_asked
from benchmarks.loopback import BRACT, HOST, Loopback
from bract.processes import free_port, tool
from bract.settings.flat import toml

ROOT = Path(__file__).parents[1]
ROOMS = ("bract", "client_app", "server_app", "strategies")
OURS = ("__init__.py", "audit_attack.py", "audit_server.py")


def on_machines(audit: Audit, there: NDArray[np.bool_], folder: Path) -> list[Told]:
    """What the clients tell where each is a node with a file of its own."""
    paths, results = write_data(audit, there, folder), folder / "results"
    results.mkdir()
    values = settings_of(audit, "node", folder)
    values |= {"federation.nodes": audit.clients, "run.folder": str(results)}
    save_asked(asked_of(values, len(audit.labels)), results)
    (folder / "run.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
    with federation(folder, paths) as loopback:
        said = loopback.call(tool("flwr"), "run", attacker(folder), "here", "--stream", "-c", folder / "run.toml")
    if not (results / SUMS).exists():
        raise RuntimeError(f"the attack did not end:\n{said}")
    return load(results)


@contextmanager
def federation(folder: Path, paths: list[Path]) -> Iterator[Loopback]:
    """A SuperLink and a node for each file, which end with the block."""
    with ExitStack() as stack:
        loopback = Loopback(folder, stack)
        loopback.start("link", *BRACT, "link", "--insecure", "--host", HOST, "--port", loopback.port)
        wait_for(loopback.port)
        for i, path in enumerate(paths):
            where = ["--superlink", f"{HOST}:{loopback.port}", "--port", free_port()]
            policy = f'data-path="{path}" data-holdout=0.0 privacy-epsilon={MORE} privacy-measuring="nothing"'
            who = ["--node-config", f"partition-id={i} num-partitions={len(paths)} {policy}"]
            loopback.start(f"node{i}", *BRACT, "node", "--insecure", *where, *who)
        yield loopback


def wait_for(port: int, seconds: float = 60.0) -> None:
    """Until the SuperLink listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the SuperLink does not listen")


def attacker(folder: Path) -> Path:
    """An app whose ServerApp is the attacker; nodes run the ClientApp that they have installed."""
    place = folder / "attacker"
    for room in ROOMS:
        shutil.copytree(ROOT / room, place / room, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "benchmarks").mkdir()
    for name in OURS:
        shutil.copy(ROOT / "benchmarks" / name, place / "benchmarks" / name)
    text = (ROOT / "pyproject.toml").read_text()
    for before, after in (
        ('"server_app.app:app"', '"benchmarks.audit_server:app"'),
        ('"strategies/**/*.py", "LICENSE"', '"strategies/**/*.py", "benchmarks/**/*.py"'),
    ):
        if before not in text:
            raise RuntimeError(f"pyproject.toml no longer has {before}")
        text = text.replace(before, after)
    (place / "pyproject.toml").write_text(text)
    return place
