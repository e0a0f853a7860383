"""The run folder: the result of a run, complete by itself.

settings.toml   rounds.jsonl   clients.jsonl   pictures.jsonl   summary.json   checkpoint/   adapter/   report.html
"""

import fcntl
import json
import os
import time
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.files import home, write_json, write_text
from bract.settings.flat import flatten
from bract.settings.read import read
from bract.settings.schema import Settings

# A resumed run may have more rounds and wait longer; everything else decides the result.
MAY_DIFFER = {"rounds", "run.resume", "run.folder", "federation.deadline"}


class RunFolder:
    """One run's files. Only one process at a time may write them; the lock ends with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BractError(f"run.folder: {path} cannot be made: {error.strerror}") from error
        self._lock = (path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BractError(f"run.folder: another process is writing to {path}") from error
        for left in path.rglob(".*.tmp"):  # of a process that was killed while it wrote
            left.unlink()

    def discard(self) -> None:
        """Remove what a run without a single row leaves: its settings and itself, if nothing else is there."""
        (self.path / "settings.toml").unlink(missing_ok=True)
        for name in (".lock", "rounds.jsonl", "clients.jsonl", "pictures.jsonl"):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    def release(self) -> None:
        """Let others write; the files stay readable through this object."""
        self._lock.close()

    @staticmethod
    def start(settings: Settings) -> "RunFolder":
        """A folder for a new run: the one that is named, if it is empty, else one with a new name."""
        path = Path(settings.run.folder) if settings.run.folder else _new_path(settings)
        # A run that was killed before its first row left only these, and nothing that could be lost.
        if path.is_dir() and any(
            child.name not in (".lock", "settings.toml") and child.suffix != ".tmp" for child in path.iterdir()
        ):
            raise BractError(
                f"run.folder: {path} holds another run; name an empty folder, or go on with that run by "
                "run.resume = true"
            )
        folder = RunFolder(path)
        write_text(path / "settings.toml", settings.to_toml())
        return folder

    @staticmethod
    def resume(settings: Settings) -> "RunFolder":
        """The folder of a run to go on with; its settings must be these."""
        path = Path(settings.run.folder)
        if not (path / "settings.toml").is_file():
            raise BractError(f"run.resume: {path} holds no run to go on with")
        before, now = read_settings(path).flat(), settings.flat()
        changed = [k for k in now if k not in MAY_DIFFER and before[k] != now[k]]
        if changed:
            pairs = [f"{k} was {before[k]!r} and is {now[k]!r}" for k in changed]
            raise BractError(f"run.resume: the settings differ from the run's: {'; '.join(pairs)}")
        folder = RunFolder(path)
        write_text(path / "settings.toml", settings.to_toml())
        return folder

    @property
    def checkpoint(self) -> Path:
        """The newest complete round."""
        return self.path / "checkpoint" / "state.safetensors"

    @property
    def pending(self) -> Path:
        """A round that was merged and not yet measured, where that must not happen twice."""
        return self.path / "checkpoint" / "pending.safetensors"

    @property
    def adapter(self) -> Path:
        """The exported model."""
        return self.path / "adapter"

    def add_round(self, row: Mapping[str, Any]) -> None:
        """Append a row to ``rounds.jsonl``."""
        self._append("rounds.jsonl", [row])

    def add_clients(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to ``clients.jsonl``."""
        self._append("clients.jsonl", rows)

    def add_diagnostics(self, row: Mapping[str, Any]) -> None:
        """Append a row to ``pictures.jsonl``: what the round's clients selected and learned, compared."""
        self._append("pictures.jsonl", [row])

    def rounds(self) -> list[dict[str, Any]]:
        """The rows so far."""
        return read_rows(self.path / "rounds.jsonl")

    def add_figures(self, round_: int, figures: Mapping[str, Any]) -> None:
        """Put figures into the row of a round that is there already: they came with a later one."""
        rows = [{**row, **figures} if row["round"] == round_ else row for row in self.rounds()]
        write_text(self.path / "rounds.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def forget_after(self, round_: int) -> None:
        """Drop rows of rounds later than this one: they came after the checkpoint."""
        for name in ("rounds.jsonl", "clients.jsonl", "pictures.jsonl"):
            rows = [row for row in read_rows(self.path / name) if row["round"] <= round_]
            write_text(self.path / name, "".join(json.dumps(row) + "\n" for row in rows))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_json(self.path / "summary.json", summary)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
            file.flush()
            os.fsync(file.fileno())  # before the checkpoint, which counts on these rows


def read_settings(path: Path) -> Settings:
    """The settings of a run folder."""
    try:
        return read(flatten(tomllib.loads((path / "settings.toml").read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        raise BractError(f"{path / 'settings.toml'} cannot be read: {error}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; a last line that was cut short is not one."""
    if not path.is_file():
        return []
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise BractError(f"{path}, line {number}: should be a JSON object: {error}") from error
    return rows


def _new_path(settings: Settings) -> Path:
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{settings.strategy.name}"
    folder = home() / "runs"
    names = [stem, *(f"{stem}-{i}" for i in range(2, 1000))]
    return next(folder / name for name in names if not (folder / name).exists())
