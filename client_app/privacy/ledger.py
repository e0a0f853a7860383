"""What a client has spent of its examples' privacy: on its disk, for its data, beyond rounds, runs and restarts.

A round is written down before it is trained, and its reply is kept before it leaves. So a round whose
reply was lost is answered again with the same reply, and costs nothing more; and a round that a
crash cut short, of which nothing left the device, is trained again under the entry it already has.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.files import home, locked, replacing
from bract.privacy.accounting import Use, epsilon

VERSION = 1
PLAIN = re.compile(r"[^0-9A-Za-z._-]+")


@dataclass(frozen=True)
class Entry:
    """A round's spending."""

    federation: str
    round: int
    request: str  # digest of what the server asked and sent
    sigma: float
    rate: float
    steps: int
    delta: float
    seeded: bool = False  # a test's: the noise was no secret

    @property
    def use(self) -> Use:
        """For the accountant. Noise that anyone can predict is none."""
        return Use(0.0 if self.seeded else self.sigma, self.rate, self.steps)


class Ledger:
    """The entries for one client's data. Use it within `opened`, which holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = _read(path)

    def of(self, federation: str) -> list[Entry]:
        """The entries of one run."""
        return [entry for entry in self.entries if entry.federation == federation]

    def find(self, federation: str, round_: int, request: str) -> Entry | None:
        """The newest entry of this very request."""
        wanted = (federation, round_, request)
        return next((e for e in reversed(self.entries) if (e.federation, e.round, e.request) == wanted), None)

    def reply(self, entry: Entry) -> bytes | None:
        """The reply that was made for an entry, if it was made and is the newest."""
        path = self._reply_path(entry.federation)
        if not path.is_file():
            return None
        data = path.read_bytes()
        digest, kept = data[:32], data[32:]
        return kept if digest == _key(entry) else None

    def write(self, entry: Entry) -> None:
        """Spend. When this returns it is on disk."""
        self.entries.append(entry)
        body = [asdict(e) for e in self.entries]
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps({"version": VERSION, "digest": _digest(body), "entries": body}, indent=1))
            temporary.chmod(0o600)

    def keep_reply(self, entry: Entry, reply: bytes) -> None:
        """Keep what is about to leave, in the place of the last one of this run."""
        with replacing(self._reply_path(entry.federation)) as temporary:
            temporary.write_bytes(_key(entry) + reply)
            temporary.chmod(0o600)

    def spent(self, delta: float, federation: str | None = None) -> float:
        """Epsilon at delta: of one run, or of the data's whole life."""
        entries = self.entries if federation is None else self.of(federation)
        return epsilon([entry.use for entry in entries], delta)

    def _reply_path(self, federation: str) -> Path:
        return self.path.with_name(f"{self.path.stem}-{federation}.reply")


@contextmanager
def opened(source: str, partition: int) -> Iterator[Ledger]:
    """The ledger of a client's data, locked: two processes cannot spend the same budget.

    It belongs to the data source and the node's partition-id and to nothing that a server sets. A
    damaged one raises BractError; it is never begun anew in silence.
    """
    path = ledger_path(source, partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    with locked(path.with_suffix(".lock")):
        yield Ledger(path)


def ledger_path(source: str, partition: int) -> Path:
    """Where it is. The readable part of the name may be cut, the digest tells sources apart."""
    tail = PLAIN.sub("-", source)[-40:].strip("-.")
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return home() / "ledger" / f"{tail}-{digest}-{partition}.json"


def request_digest(*pieces: bytes) -> str:
    """Tells one request from another."""
    return hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).hexdigest()


def _read(path: Path) -> list[Entry]:
    if not path.exists():
        if any(path.parent.glob(f"{path.stem}-*.reply")):  # it has replied, so it has spent
            raise BractError(f"privacy ledger {path} is gone: nothing is trained on this data until it is restored")
        return []
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] != VERSION:
            raise BractError(f"privacy ledger {path} has version {value['version']}, this is {VERSION}")
        if value["digest"] != _digest(value["entries"]):
            raise ValueError("its digest does not fit")
        return [Entry(**entry) for entry in value["entries"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BractError(
            f"privacy ledger {path} is damaged ({error!s:.80}): nothing is trained on this data until it is restored "
            "from a copy; moving it away forgets what was spent"
        ) from error


def _digest(body: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _key(entry: Entry) -> bytes:
    return hashlib.sha256(json.dumps(asdict(entry), sort_keys=True).encode()).digest()
