"""A run from its submission to its end: Flower is told of it, its log is followed, its status is asked for."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bract.errors import BractError
from bract.files import home
from bract.processes import QUIET, tool
from bract.results import console
from bract.settings.flat import toml

# What is said of a run that said nothing itself, by its status.
SILENT = {
    "finished:failed": "its ServerApp ended without a word; was it killed?",
    "unknown": "its SuperLink does not answer",
}


@dataclass(frozen=True)
class Connection:
    """A SuperLink to submit to: its name in Flower's configuration, and the environment that knows it."""

    name: str
    environment: Mapping[str, str]

    def flwr(self, *arguments: str) -> list[str]:
        """A command line of Flower's."""
        return [str(tool("flwr")), *arguments]


def flower_environment() -> dict[str, str]:
    """The environment of this process, in which Flower is quiet and finds its own commands."""
    return {**os.environ, **QUIET, "PATH": f"{tool('flwr').parent}{os.pathsep}{os.environ['PATH']}"}


def submit(
    app: Path, link: Connection, overrides: Mapping[str, Any], place: Path, extra: Sequence[str], where: Sequence[str]
) -> Path | None:
    """Submit, follow the log to its end, then ask Flower what became of the run; its folder, where that is known.

    `extra` goes to Flower's command; `where` is what the command that goes on with the run says of where it runs.
    """
    run_id = _start(app, link, overrides, place, extra)
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
        say_how_to_go_on(app, outcome.folder, where)
        raise
    finally:
        for path in (home() / "tokens").glob(f"{run_id}-*"):  # what the simulation's workers shared
            path.unlink(missing_ok=True)
    if status != "finished:completed":
        say_how_to_go_on(app, outcome.folder, where)
        why = outcome.error or details or SILENT.get(status, f"its status is {status}")
        raise BractError(f"the run failed: {why} (the whole log: {log_path})")
    return outcome.folder


def say_how_to_go_on(app: Path, folder: Path | None, where: Sequence[str]) -> None:
    """The command that goes on with a run after its newest complete round, where it has one."""
    if folder is None:
        return
    again = f"run.resume=true run.folder={toml(str(folder))}"
    if (folder / "checkpoint" / "state.safetensors").is_file():
        place = [] if app == Path.cwd() else [str(app)]
        command = ["bract", "run", *place, *where, "-c", str(folder / "settings.toml"), "-c", again]
        console.note(f"go on with: {shlex.join(command)}")
    elif where[:1] == ["--superlink"] and not folder.is_dir():  # it is on another machine, as the SuperLink is
        console.note(f"go on with the same command and: {shlex.join(['-c', again])}")


def _start(app: Path, link: Connection, overrides: Mapping[str, Any], place: Path, extra: Sequence[str]) -> str:
    """Flower's id of a new run."""
    config = place / "run-config.toml"
    config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in overrides.items()))
    command = ["run", str(app), link.name, "--format", "json", *extra]
    if config.stat().st_size:
        command += ["-c", str(config)]
    started = _call(link, *command, place=place)
    run_id = str(_json(started.stdout).get("run-id") or "")
    if not run_id:
        raise BractError(f"Flower did not start the run: {_last_line(started)}")
    return run_id


def _follow(link: Connection, run_id: str, place: Path, log_path: Path, outcome: console.Outcome) -> console.Outcome:
    with (
        log_path.open("a", encoding="utf-8", buffering=1) as log,  # it is read while the run goes on
        subprocess.Popen(
            link.flwr("log", run_id, link.name, "--stream"),
            cwd=place,
            env=dict(link.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as stream,
    ):
        assert stream.stdout is not None  # noqa: S101 - Popen was given a pipe
        try:
            return console.follow(_copied(stream.stdout, log), outcome)
        finally:
            stream.terminate()


def _copied(lines: Iterable[str], log: TextIO) -> Iterator[str]:
    for line in lines:
        log.write(line)
        yield line


def _status(link: Connection, run_id: str, place: Path) -> tuple[str, str]:
    """The run's status, once it is finished or a while after its log ended, and Flower's details."""
    end = time.monotonic() + 20
    while True:
        found = _json(_call(link, "list", "--run-id", run_id, link.name, "--format", "json", place=place).stdout)
        run: dict[str, Any] = next(iter(found.get("runs") or []), {})
        status = str(run.get("status") or "unknown")
        if status.startswith("finished") or time.monotonic() > end:
            return status, " ".join(str(run.get("details") or "").split())
        time.sleep(0.5)


def _call(link: Connection, *arguments: str, place: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        link.flwr(*arguments),
        cwd=place,
        env=dict(link.environment),
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
    )


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
