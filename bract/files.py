"""Files that are either whole or not there, and where Bract keeps its own."""

import fcntl
import json
import os
import secrets
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bract.errors import BractError

SECRET = 32  # bytes of a node's secret


def home() -> Path:
    """The folder for run folders and clients' state: ``$BRACT_HOME``, else ``~/.bract``."""
    return Path(os.environ.get("BRACT_HOME") or Path.home() / ".bract")


def node_secret() -> bytes:
    """The node's own 32 bytes, made at first use.

    Guaranteed: all processes get the same, however many begin at once and wherever one is killed. It is not made anew
    where digests lie that were made with it: without it no ledger would know its data again.
    """
    path = home() / "secret"
    if not path.exists():
        with locked(path.with_name(".secret.lock")):
            if not path.exists():
                _make_secret(path)
    require_private(path, "the node's secret", secret=True)
    found = path.read_bytes()
    if len(found) != SECRET:
        raise BractError(f"the node's secret {path} is damaged: restore it from a copy")
    return found


def _make_secret(path: Path) -> None:
    if any((path.parent / "ledger").glob("*.examples")):
        raise BractError(
            f"the node's secret {path} is gone, by which its ledgers know their data: restore it from a copy; to move "
            "the folder ledger away forgets what was spent"
        )
    with replacing(path) as temporary:  # which only its owner may read, from the start
        temporary.write_bytes(secrets.token_bytes(SECRET))


def require_private(path: Path, what: str, *, secret: bool = False) -> None:
    """Refuse a file that others than its owner may write, or put another in its place; and a secret that they may read.

    The owner must be this process's user, or root. A link stands for the file that it leads to, and the folders of both
    are looked at. In a folder with the sticky bit nobody moves what is another's.
    """
    try:
        found = path.stat()
        folders = {place: place.stat() for place in (path.absolute().parent, path.resolve().parent)}
    except OSError as error:
        raise BractError(f"{what} {path} cannot be read: {error.strerror}") from error
    if secret and found.st_mode & 0o077:
        raise BractError(f"{what} {path} is open to others than its owner: chmod go= {shlex.quote(str(path))}")
    if found.st_mode & 0o022:
        raise BractError(f"{what} {path} may be written by others: chmod go-w {shlex.quote(str(path))}")
    if found.st_uid not in (0, os.geteuid()):
        raise BractError(f"{what} {path} is another user's: chown {os.geteuid()} {shlex.quote(str(path))}")
    for folder, state in folders.items():
        if state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX:
            raise BractError(
                f"{what} {path} lies in a folder that others may write: chmod go-w {shlex.quote(str(folder))}"
            )


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
