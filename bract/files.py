"""Files that are either whole or not there, and where Bract keeps its own."""

import fcntl
import json
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bract.errors import BractError


def home() -> Path:
    """The folder for run folders and clients' state: ``$BRACT_HOME``, else ``~/.bract``."""
    return Path(os.environ.get("BRACT_HOME") or Path.home() / ".bract")


def node_secret() -> bytes:
    """The node's own 32 bytes, made at first use."""
    path = home() / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        require_private(path, "the node's secret", secret=True)
    return path.read_bytes()


def require_private(path: Path, what: str, *, secret: bool = False) -> None:
    """Refuse a file that its group or others may write, and a secret that they may read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BractError(f"{what} {path} cannot be read: {error.strerror}") from error
    if secret and mode & 0o077:
        raise BractError(f"{what} {path} is open to others than its owner: chmod go= {shlex.quote(str(path))}")
    if mode & 0o022:
        raise BractError(f"{what} {path} may be written by others: chmod go-w {shlex.quote(str(path))}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock, and hold it. The file is its owner's alone, and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` in one atomic step, or nothing at all.

    Guaranteed: a reader sees the old file or the new one, never a part; the new one is on
    disk before the old one goes. Two writers at once do not mix; the later one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace `path` by readable JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
