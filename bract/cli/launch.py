"""`bract run`: Flower's own command, made safe.

Flower's command returns 0 for failed runs, loads client code from the folder in which its
SuperLink was started, and leaves that SuperLink running. Here every simulation has its own
SuperLink, in an empty folder, on a free loopback port, that ends with the command; and the
run's own status decides the exit code.
"""

import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bract.data import tables
from bract.errors import BractError
from bract.files import home
from bract.results import console
from bract.settings.flat import toml
from bract.settings.schema import Settings

DEFAULT_NODES = 8
GPU_WORKERS = 4  # workers that share one GPU: a small model leaves most of it idle
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # it runs in the environment it is started from
    "RAY_USAGE_STATS_ENABLED": "0",
}
# What is said of a run that said nothing itself, by its status.
SILENT = {
    "finished:failed": "its ServerApp ended without a word; was it killed?",
    "unknown": "its SuperLink does not answer",
}


@dataclass(frozen=True)
class Link:
    """A SuperLink to submit to: a connection's name, and the environment that knows it."""

    name: str
    environment: Mapping[str, str]

    def flwr(self, *arguments: str) -> list[str]:
        """A command line of Flower's."""
        return [str(tool("flwr")), *arguments]


def run(
    app: Path,
    settings: Settings,
    overrides: Mapping[str, Any],
    *,
    nodes: int | None,
    superlink: str | None,
    price: bool = False,
) -> int:
    """Run the app and show how it goes. Returns 0 only if the run completed.

    With `price` the same is run a second time without privacy, to show what privacy costs.
    """
    environment = {**os.environ, **QUIET, "PATH": f"{tool('flwr').parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory(prefix="bract-") as scratch:
        place = Path(scratch)
        if superlink:
            where = ["--superlink", superlink]
            console.show_result(_submit(app, Link(superlink, environment), overrides, place, [], where))
            return 0
        count = nodes or settings.federation.nodes or default_nodes(settings)
        if count < settings.federation.nodes:
            raise BractError(f"federation.nodes = {settings.federation.nodes}: --nodes starts only {count}")
        console.note(f"starting Flower with {count} simulated clients; their workers load the model first")
        with _simulation(environment, place) as link:
            extra, where = ["--federation-config", resources(count)], ["--nodes", str(count)]
            folder = _submit(app, link, overrides, place, extra, where)
            console.show_result(folder)
            if price:
                console.note("\nonce more without privacy, to see what it costs")
                console.show_price(folder, _submit(app, link, without_privacy(overrides), place, extra, where))
    return 0


def without_privacy(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The same run with nothing protected, in a folder of its own."""
    kept = {key: value for key, value in overrides.items() if not key.startswith("privacy.")}
    folder = {"run.folder": f"{kept['run.folder']}-plain"} if kept.get("run.folder") else {}
    return {**kept, **folder, "privacy.unit": "none"}


def default_nodes(settings: Settings) -> int:
    """As many clients as the data has natural groups, else eight."""
    if not tables.natural_column(settings.data):
        return DEFAULT_NODES
    return len(set(tables.load(settings.data, settings.seed).group))


def resources(nodes: int) -> str:
    """Flower's description of a simulation on this machine: a worker per core, GPUs shared."""
    cores, gpus = cpus(), _gpus()
    workers = min(cores, nodes, GPU_WORKERS * gpus if gpus else cores)
    words = [f"num-supernodes={nodes}", f"client-resources-num-cpus={max(1, cores // workers)}"]
    if gpus:  # a whole number of workers on each GPU, and never more than one GPU a worker
        words.append(f"client-resources-num-gpus={1 / -(-workers // gpus):.4f}")
    return " ".join(words)


def cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _submit(
    app: Path, link: Link, overrides: Mapping[str, Any], place: Path, extra: list[str], resume: Sequence[str]
) -> Path | None:
    """Submit, follow the log to its end, then ask Flower what became of the run; its folder, where that is known.

    `resume` is what the command line that goes on with it says of where it is played.
    """
    config = place / "run-config.toml"
    config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in overrides.items()))
    command = ["run", str(app), link.name, "--format", "json", *extra]
    if config.stat().st_size:
        command += ["-c", str(config)]
    started = _call(link, *command, place=place)
    run_id = str(_json(started.stdout).get("run-id") or "")
    if not run_id:
        raise BractError(f"Flower did not start the run: {_last_line(started)}")
    log_path = home() / "logs" / f"{run_id}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_path.touch(mode=0o600)  # it holds clients' words
    try:
        outcome = console.Outcome()
        while True:
            outcome = _follow(link, run_id, place, log_path, outcome)
            status, details = _status(link, run_id, place)
            if status.startswith("finished") or status == "unknown":
                break
            console.note(f"the log broke off while the run is {status}; following it again")
    except BaseException:
        _call(link, "stop", run_id, link.name, place=place)
        _say_how_to_go_on(app, outcome.folder, resume)
        raise
    finally:
        for path in (home() / "tokens").glob(f"{run_id}-*"):  # what the simulation's workers shared
            path.unlink(missing_ok=True)
    if status != "finished:completed":
        _say_how_to_go_on(app, outcome.folder, resume)
        why = outcome.error or details or SILENT.get(status, f"its status is {status}")
        raise BractError(f"the run failed: {why} (the whole log: {log_path})")
    return outcome.folder


def _say_how_to_go_on(app: Path, folder: Path | None, words: Sequence[str]) -> None:
    """The command that goes on with a run after its newest complete round, where it has one."""
    if folder is None:
        return
    again = f"run.resume=true run.folder={toml(str(folder))}"
    if (folder / "checkpoint" / "state.safetensors").is_file():
        place = [] if app == Path.cwd() else [str(app)]
        command = ["bract", "run", *place, *words, "-c", str(folder / "settings.toml"), "-c", again]
        console.note(f"go on with: {shlex.join(command)}")
    elif words[:1] == ["--superlink"] and not folder.is_dir():  # it is on another machine, as the SuperLink is
        console.note(f"go on with the same command and: {shlex.join(['-c', again])}")


def _follow(link: Link, run_id: str, place: Path, log_path: Path, outcome: console.Outcome) -> console.Outcome:
    command = link.flwr("log", run_id, link.name, "--stream")
    with (
        log_path.open("a", encoding="utf-8", buffering=1) as log,  # it is read while the run goes on
        subprocess.Popen(
            command, cwd=place, env=dict(link.environment), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
        ) as stream,
    ):  # fmt: skip
        assert stream.stdout is not None  # noqa: S101 - Popen was given a pipe
        try:
            return console.follow(_copied(stream.stdout, log), outcome)
        finally:
            stream.terminate()


def _copied(lines: Iterator[str] | Any, log: Any) -> Iterator[str]:
    for line in lines:
        log.write(line)
        yield line


def _status(link: Link, run_id: str, place: Path) -> tuple[str, str]:
    """The run's status, once it is finished or a while after its log ended, and Flower's details."""
    end = time.monotonic() + 20
    while True:
        found = _json(_call(link, "list", "--run-id", run_id, link.name, "--format", "json", place=place).stdout)
        run: dict[str, Any] = next(iter(found.get("runs") or []), {})
        status = str(run.get("status") or "unknown")
        if status.startswith("finished") or time.monotonic() > end:
            return status, " ".join(str(run.get("details") or "").split())
        time.sleep(0.5)


@contextmanager
def _simulation(environment: Mapping[str, str], place: Path) -> Iterator[Link]:
    """A SuperLink for one run: loopback only, in an empty folder, ended with the block."""
    flower, neutral = place / "flwr", place / "neutral"
    flower.mkdir()
    neutral.mkdir()
    port = free_port()
    (flower / "config.toml").write_text(
        f'[superlink]\ndefault = "bract"\n[superlink.bract]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    environment = {**environment, "FLWR_HOME": str(flower)}
    command = [
        tool("flower-superlink"),
        "--insecure",
        "--simulation",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    log_path = place / "superlink.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=neutral, env=environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        _wait_for(port, process, log_path)
        yield Link("bract", environment)
    finally:
        end(process)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    lines = log_path.read_text(errors="replace").strip().splitlines()
    raise BractError(f"Flower's SuperLink did not start: {lines[-1] if lines else 'it said nothing'}")


def end(process: "subprocess.Popen[bytes]") -> None:
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


def die_with_parent() -> None:
    """For a new process: Linux ends it when the one that started it dies, however that dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on, for a server that is started at once."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _call(link: Link, *arguments: str, place: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        link.flwr(*arguments), cwd=place, env=dict(link.environment), stdin=subprocess.DEVNULL, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Why Flower refused: its JSON error, else its last words."""
    message = _json(done.stdout).get("error-message")
    if message:
        return str(message)
    words = [line.strip(" │╭╮╰╯─") for line in (done.stderr + "\n" + done.stdout).splitlines()]
    return next((line for line in reversed(words) if line), f"exit code {done.returncode}")


def _gpus() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def tool(name: str) -> Path:
    """A command of Flower's, of the environment that Bract itself runs in."""
    path = Path(sys.executable).parent / name
    if not path.is_file():
        found = shutil.which(name)
        if found is None:
            raise BractError(f"there is no command {name}; install Bract with its dependencies")
        path = Path(found)
    return path
