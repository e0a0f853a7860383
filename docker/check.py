"""What `docker/cluster check` asks inside the containers. Exit code 0 if all holds, else 1 and a line a fault."""

import json
import os
import socket
import ssl
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from safetensors.numpy import load_file

from bract.results.run_folder import read_rows
from bract.settings.flat import toml


def container(*strangers: str) -> list[str]:
    """What must hold in the SuperLink's container and in a node's; no `strangers` should be known by name."""
    faults = processes(Path("/proc")) + state(Path("/data"))
    for folder in ("/", "/public", "/tls"):  # where nothing is mounted, a folder is of the root file system
        if not os.statvfs(folder).f_flag & os.ST_RDONLY:
            faults.append(f"{folder} is not mounted read-only")
    faults += [
        f"{folder} can be written" for folder in ("/", "/app", "/opt/venv", "/public") if os.access(folder, os.W_OK)
    ]
    if list(Path("/authority").iterdir()):
        faults.append("the authority's key is here")
    for path in (Path("/tls/server.key"), Path("/data/key")):
        if path.exists() and path.stat().st_mode & 0o777 != 0o600:
            faults.append(f"others may read {path}")
    return faults + [f"it knows the name {name}" for name in strangers if _known(name)]


def processes(proc: Path) -> list[str]:
    """A fault for each process that is root's, has a capability or may come to have one."""
    faults, seen = [], 0
    for path in sorted(proc.glob("[0-9]*/status")):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
        except OSError:
            continue  # it has just ended
        seen += 1
        name = f"process {path.parent.name} ({fields['Name'].strip()})"
        if "0" in fields["Uid"].split() + fields["Gid"].split():
            faults.append(f"{name} runs as root")
        if any(int(fields[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")):
            faults.append(f"{name} has capabilities")
        if fields["NoNewPrivs"].strip() != "1":
            faults.append(f"{name} may gain rights")
    return faults if seen else ["no process can be seen"]


def state(folder: Path) -> list[str]:
    """A fault if what a container keeps is not its user's alone, or is in no volume."""
    found = folder.stat()
    faults = [] if found.st_uid == os.getuid() else [f"{folder} belongs to {found.st_uid}, not to {os.getuid()}"]
    if found.st_mode & 0o077:
        faults.append(f"{folder} is open to others than its owner")
    return faults if os.path.ismount(folder) else [*faults, f"{folder} is in no volume"]


def node(*strangers: str) -> list[str]:
    """What must hold in a node's container: the SuperLink serves it as a node and as nothing else."""
    faults = container(*strangers)
    if Path("/tls/server.key").exists():
        faults.append("the SuperLink's key is here")
    for path in ("/v1/control/list-runs", "/v1/control/start-run", "/v1/runtime/acquire-task"):
        if (status := _status(f"https://superlink:8000{path}")) != 403:
            faults.append(f"the SuperLink answers {path} with {status}, not 403")
    return faults


def link(*strangers: str) -> list[str]:
    """What must hold in the SuperLink's container."""
    found = [name for name in ("torch", "transformers", "ray") if find_spec(name)]
    faults = [f"the server's image holds {', '.join(found)}"] if found else []
    if Path("/data/key").exists():
        faults.append("a node's key is here")
    return container(*strangers) + faults


def run(folder: str, nodes: str) -> list[str]:
    """Whether all nodes took part in all rounds, and a simulation of the same settings ends the same."""
    there, here = Path(folder), Path("/tmp/bract/run")  # noqa: S108 - the container's own
    settings = tomllib.loads((there / "settings.toml").read_text())
    rows = read_rows(there / "rounds.jsonl")
    trained = [row for row in rows if row["round"]]
    faults = [
        f"round {row['round']}: {row['clients']} of {nodes} nodes answered"
        for row in trained
        if (row["clients"], row["failed"], row["abstained"]) != (int(nodes), 0, 0)
    ]
    if len(trained) != settings["rounds"]:
        faults.append(f"{len(trained)} of {settings['rounds']} rounds are there")
    if faults:
        return faults
    words = ["-c", str(there / "settings.toml"), "-c", f"run.folder={toml(str(here))}"]
    if subprocess.run(["bract", "run", "/app", "--nodes", nodes, *words], check=False).returncode:  # noqa: S607
        return ["the simulation failed"]
    for one, two in zip(rows, read_rows(here / "rounds.jsonl"), strict=True):
        if one["accuracy"] != two["accuracy"]:
            faults.append(f"round {one['round']}: accuracy {one['accuracy']} here, {two['accuracy']} in a simulation")
    ours, its = (load_file(place / "adapter" / "adapter_model.safetensors") for place in (there, here))
    if ours.keys() != its.keys() or any(ours[name].tobytes() != its[name].tobytes() for name in ours):
        apart = max((float(abs(ours[name] - its[name]).max()) for name in ours.keys() & its.keys()), default=0.0)
        faults.append(f"the adapter is not the simulation's: values differ by up to {apart:.1e}")
    if not faults:
        accuracy = json.loads((there / "summary.json").read_text())["accuracy"]
        print(f"the same as in a simulation: accuracy of all rounds ({accuracy:.4f} at last), all bits of the adapter")
    return faults


def _status(address: str) -> int:
    trusted = ssl.create_default_context(cafile="/public/ca.crt")
    try:
        urllib.request.urlopen(urllib.request.Request(address, b""), timeout=10, context=trusted).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def _known(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except socket.gaierror:
        return False
    return True


if __name__ == "__main__":
    asked: dict[str, Callable[..., list[str]]] = {"link": link, "node": node, "run": run}
    found = asked[sys.argv[1]](*sys.argv[2:])
    for fault in found:
        print(f"fault: {fault}")
    sys.exit(bool(found))
