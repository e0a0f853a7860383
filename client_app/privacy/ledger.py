"""What has been spent of the privacy of a body of data: on this machine's disk, beyond rounds, runs and restarts.

A round is written down before it is trained, and its reply is kept before it leaves. So a round whose
reply was lost is answered again with the same reply, and costs nothing more; and a round that a
crash cut short, of which nothing left the device, is trained again under the entry it already has.

A ledger is some files of one name: `.json` with the entries; `.examples` with digests of the examples; `.seq`, which
says how far the entries had come, and `-RUN-LANE.reply`, so that an older copy of the entries is noticed. Of each the
later one is written last: wherever a process is killed, nothing is refused that was not put back.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bract.errors import BractError
from bract.files import replacing, require_private
from bract.privacy.accounting import Use
from bract.privacy.digests import Digests, united
from bract.privacy.spending import Limit
from client_app.privacy.body import Body

VERSION = 2
BEFORE = "version 1"  # the way to hold out of entries of before lanes: they count for both
Lane = Literal["train", "holdout"]
LANES: tuple[Lane, ...] = ("train", "holdout")
UNITS = ("example", "person", "client")  # each is a part of the next


@dataclass(frozen=True)
class Entry:
    """A round's spending, of the examples that are trained on or of those that are held out."""

    federation: str
    round: int
    request: str  # digest of what the server asked and sent
    sigma: float
    rate: float
    steps: int
    delta: float
    seeded: bool = False  # a test's: the noise was no secret
    lane: Lane = "train"
    split: str = ""  # the way in which examples are held out
    unit: str = "example"
    server: str = ""
    time: str = ""  # UTC
    honest: int = 0  # members whose shares make up the noise, where clients share it; 0: it is all the client's own
    roster: bool = False  # whether the node knew the other members by its operators' roster

    @property
    def use(self) -> Use:
        """For the accountant. Noise that anyone can predict is none."""
        return Use(0.0 if self.seeded else self.sigma, self.rate, self.steps)

    def counted(self, unit: str) -> Use:
        """For a limit that holds for each `unit`.

        What protects examples bounds nothing for a person, who may have any number of them: that is no noise. What
        protects persons, or the whole client, protects a single example less: with it, or without it, a person's part
        in a step may be any two vectors as long as the clip, twice the clip apart. Let A be the release with a sampled
        vector of twice the clip, B the one without. At every factor of at least 1 the hockey-stick divergence of the
        two releases, either way, is at most that of A and B (by advanced joint convexity,
        https://arxiv.org/abs/1807.01647, theorem 2). A Rényi divergence is an integral over those of both ways, so
        exp((order - 1) divergence) - 1 is at most twice that of A and B, and the divergence at most two steps of
        theirs: half the noise, twice the steps.
        """
        use = self.use
        if unit == self.unit:
            return use
        if UNITS.index(unit) > UNITS.index(self.unit):
            return use._replace(sigma=0.0)
        return use._replace(sigma=use.sigma / 2, steps=2 * use.steps)

    @property
    def key(self) -> bytes:
        """Tells it from every other spending; when it was and at whose server is no part of that."""
        told = {name: value for name, value in asdict(self).items() if name not in ("server", "time")}
        for name in ("honest", "roster"):
            if not told[name]:  # as before there were any
                del told[name]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


class Ledger:
    """The entries for one body of data. Use it within `shelf.opened`, which holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = _read(path)
        self._whole = found.get("version") != 1  # what lies beside one of version 1 is of that version, too
        self.entries = [Entry(**entry) for entry in found["entries"]]
        self.names: list[str] = found.get("names", [])
        self.taken: list[str] = found.get("taken", [])  # ledgers that became part of it
        self.limit = Limit(**found["limit"]) if found.get("limit") else None
        self.digests = _read_digests(path, found.get("examples", 0))
        self._require_newest()

    def of(self, federation: str, lane: Lane = "train") -> list[Entry]:
        """The entries of one run."""
        return [entry for entry in self.entries if (entry.federation, entry.lane) == (federation, lane)]

    def find(self, federation: str, round_: int, request: str, lane: Lane = "train") -> Entry | None:
        """The newest entry of this very request."""
        wanted = (federation, round_, request, lane)
        found = (e for e in reversed(self.entries) if (e.federation, e.round, e.request, e.lane) == wanted)
        return next(found, None)

    def newest(self, lane: Lane) -> Entry | None:
        """The last one of a lane."""
        return next((entry for entry in reversed(self.entries) if entry.lane == lane), None)

    def uses(self, lane: Lane, split: str, unit: str = "example") -> list[Use]:
        """What counts for the life of the examples of one lane.

        Those of the lane; and those of another way to hold out, whichever lane they were in: an example may have been
        in either. No example is in both lanes of one way, so the two stand side by side.
        """
        return [entry.counted(unit) for entry in self.entries if entry.lane == lane or entry.split != split]

    def reply(self, entry: Entry) -> bytes | None:
        """The reply that was made for an entry, if it was made and is the newest."""
        path = self._reply_path(entry)
        if not path.is_file():
            return None
        data = path.read_bytes()
        digest, kept = data[:32], data[32:]
        return kept if digest == entry.key else None

    def write(self, entry: Entry) -> None:
        """Spend. When this returns it is on disk."""
        self.entries.append(entry)
        self.save()

    def know(self, body: Body, limit: Limit | None) -> None:
        """Learn the body's name and examples, and the limit that its operator sets now."""
        digests = united(self.digests, body.digests)
        if len(digests) > len(self.digests):  # first: a body without its examples would not be found again
            _write_digests(self.path.with_suffix(".examples"), digests)
            self.digests = digests
        names = [*self.names, body.name] if body.own and body.name and body.name not in self.names else self.names
        if (names, limit or self.limit) != (self.names, self.limit) or (body.own and not self.path.exists()):
            self.names, self.limit = names, limit or self.limit
            self.save()

    def take_in(self, other: "Ledger") -> None:
        """Make another ledger of the same data a part of this one.

        Guaranteed: wherever this is cut short, nothing of what either has spent is lost; it is then done again, and
        counts once. Two entries that look alike stay two: each was another release.
        """
        mark = f"{other.path.stem} {_digest([asdict(entry) for entry in other.entries])}"
        if mark not in self.taken:
            digests = united(self.digests, other.digests)
            if len(digests) > len(self.digests):
                _write_digests(self.path.with_suffix(".examples"), digests)
            self.digests = digests
            self.entries = sorted([*self.entries, *other.entries], key=lambda entry: entry.time)
            self.names = list(dict.fromkeys([*self.names, *other.names]))
            self.limit = self.limit or other.limit
            self.taken = [*self.taken, mark]
            self.save()
        other._move_to(self)

    def _move_to(self, whole: "Ledger") -> None:
        """Give the replies to the ledger that has the entries, and be no more."""
        place = {entry.key: i for i, entry in enumerate(whole.entries)}
        for reply in self._replies():
            theirs = reply.with_name(reply.name.replace(self.path.stem, whole.path.stem, 1))
            # Of two in one run the later one stays: without it the newest entry would seem unanswered.
            if not theirs.exists() or place[_key_of(theirs)] < place[_key_of(reply)]:
                os.replace(reply, theirs)
        for left in self.path.parent.glob(f"{self.path.stem}-*.reply"):
            left.unlink()
        for suffix in (".seq", ".json", ".examples"):  # whatever of these is left alone is not missed by `_read`
            self.path.with_suffix(suffix).unlink(missing_ok=True)

    def keep_reply(self, entry: Entry, reply: bytes) -> None:
        """Keep what is about to leave, in the place of the last one of this run and lane."""
        with replacing(self._reply_path(entry)) as temporary:
            temporary.write_bytes(entry.key + reply)
            temporary.chmod(0o600)

    def save(self) -> None:
        """Write the entries, and how far they have come."""
        told = {
            "names": self.names,
            "limit": None if self.limit is None else asdict(self.limit),
            "examples": len(self.digests),  # at least so many are in their own file
            "taken": self.taken,
            "entries": [asdict(entry) for entry in self.entries],
        }
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps({"version": VERSION, "digest": _digest(told), **told}, indent=1))
            temporary.chmod(0o600)
        if self.entries:
            with replacing(self.path.with_suffix(".seq")) as temporary:
                temporary.write_text(json.dumps({"entries": len(self.entries), "newest": self.entries[-1].key.hex()}))
                temporary.chmod(0o600)

    def _require_newest(self) -> None:
        """What is beside the entries must not be newer than they are."""
        if not self._whole:
            return
        keys = {entry.key for entry in self.entries}
        later = [reply for reply in self._replies() if _key_of(reply) not in keys]
        if (path := self.path.with_suffix(".seq")).is_file():
            try:
                told = json.loads(path.read_text())
                fits = int(told["entries"]) <= len(self.entries) and bytes.fromhex(told["newest"]) in keys
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise BractError(
                    f"{path} is damaged: nothing is trained on this data until it and {self.path.name} are restored "
                    "from one copy"
                ) from error
            later += [] if fits else [path]
        if later:
            raise BractError(
                f"privacy ledger {self.path} is older than {later[0].name} beside it: nothing is trained on this data "
                "until the newest copy is restored; an older one forgets what was spent"
            )

    def _replies(self) -> list[Path]:
        lanes = (self.path.parent.glob(f"{self.path.stem}-*-{lane}.reply") for lane in LANES)
        return sorted(path for found in lanes for path in found)

    def _reply_path(self, entry: Entry) -> Path:
        return self.path.with_name(f"{self.path.stem}-{entry.federation}-{entry.lane}.reply")


def known(path: Path) -> tuple[list[str], Digests]:
    """The names and the examples that a ledger knows. It may be in use: both only grow."""
    found = _read(path)
    return found.get("names", []), _read_digests(path, found.get("examples", 0))


def is_of_before(path: Path) -> bool:
    """Whether it is one of version 1. One that is damaged, or gone from beside its replies, raises."""
    return _read(path).get("version") == 1


def request_digest(*pieces: bytes) -> str:
    """Tells one request from another."""
    return hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        beside = [*path.parent.glob(f"{path.stem}-*.reply"), *path.parent.glob(f"{path.stem}.seq")]
        if beside:  # it has replied, so it has spent
            raise BractError(f"privacy ledger {path} is gone: nothing is trained on this data until it is restored")
        return {"entries": []}
    require_private(path, "the privacy ledger")
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] not in (1, VERSION):
            raise BractError(f"privacy ledger {path} has version {value['version']}, this is {VERSION}")
        told = {key: one for key, one in value.items() if key not in ("version", "digest")}
        if value["digest"] != _digest(told["entries"] if value["version"] == 1 else told):
            raise ValueError("its digest does not fit")
        if value["version"] == 1:
            told["entries"] = [{**entry, "split": BEFORE} for entry in told["entries"]]
        for entry in told["entries"]:
            Entry(**entry)
        return {**told, "version": value["version"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BractError(
            f"privacy ledger {path} is damaged ({error!s:.80}): nothing is trained on this data until it is restored "
            "from a copy; moving it away forgets what was spent"
        ) from error


def _digest(body: Sequence[Any] | dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _key_of(reply: Path) -> bytes:
    """The key of the entry that a reply was made for."""
    with reply.open("rb") as file:
        return file.read(32)


def _read_digests(ledger: Path, least: int) -> Digests:
    """Of the examples of a ledger, which says that there are so many at least."""
    path = ledger.with_suffix(".examples")
    data = path.read_bytes() if path.exists() else hashlib.sha256().digest()
    if hashlib.sha256(data[32:]).digest() != data[:32] or (len(data) - 32) // 8 < least:
        raise BractError(
            f"{path} is damaged, or older than its ledger, or gone: nothing is trained on this data until it is "
            "restored from a copy"
        )
    return np.frombuffer(data, dtype="<u8", offset=32).astype(np.uint64)


def _write_digests(path: Path, digests: Digests) -> None:
    data = digests.astype("<u8").tobytes()
    with replacing(path) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)
        temporary.chmod(0o600)
