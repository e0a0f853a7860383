"""A SuperLink for one run, and how many workers this machine's cores and GPUs carry."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bract.cli.submit import Connection
from bract.errors import BractError
from bract.processes import die_with_parent, end, free_port, tool

GPU_WORKERS = 4  # workers that share one GPU: a small model leaves most of it idle


@contextmanager
def simulation(environment: Mapping[str, str], place: Path) -> Iterator[Connection]:
    """A SuperLink for one run: loopback only, in an empty folder, ended with the block."""
    flower, neutral = place / "flwr", place / "neutral"
    flower.mkdir()
    neutral.mkdir()
    port = free_port()
    (flower / "config.toml").write_text(
        f'[superlink]\ndefault = "bract"\n[superlink.bract]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    environment = {**environment, "FLWR_HOME": str(flower)}
    log_path = place / "superlink.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [str(tool("flower-superlink")), "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)],
            cwd=neutral,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _wait_for(port, process, log_path)
        yield Connection("bract", environment)
    finally:
        end(process)


def resources(nodes: int) -> str:
    """Flower's description of a simulation on this machine: a worker per core, GPUs shared."""
    cores, cards = cpus(), gpus()
    workers = min(cores, nodes, GPU_WORKERS * cards if cards else cores)
    words = [f"num-supernodes={nodes}", f"client-resources-num-cpus={max(1, cores // workers)}"]
    if cards:  # a whole number of workers on each GPU, and never more than one GPU a worker
        words.append(f"client-resources-num-gpus={1 / -(-workers // cards):.4f}")
    return " ".join(words)


def cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """GPUs that the driver lists."""
    lister = shutil.which("nvidia-smi")
    if lister is None:
        return 0
    listed = subprocess.run([lister, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    patience = time.monotonic() + 60
    while time.monotonic() < patience and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    lines = log_path.read_text(errors="replace").strip().splitlines()
    raise BractError(f"Flower's SuperLink did not start: {lines[-1] if lines else 'it said nothing'}")
