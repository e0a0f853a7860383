"""A client's own state: on its disk, keyed by federation and partition, one file a round."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bract.adapter.layout import PARTS, Layout, Parts
from bract.errors import BractError
from bract.files import home, locked, replacing

VERSION = "1"
OURS = ("version", "layout")  # of a file's metadata; the rest are directives' notes


@dataclass(frozen=True)
class Kept:
    """What stays with a client: its own parts, and what directives remember (its rank, where it prunes itself)."""

    parts: Parts = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    round: int = 0  # after which it was kept


@dataclass(frozen=True)
class ClientState:
    """What stays with a client, on its disk.

    Guaranteed: a file is whole or not there, readable by its owner alone; state of another
    layout is refused by name, never silently replaced. The state before the last round is kept
    too, so that a server that goes back one round finds what belongs to it. Within `alone` no
    other process reads it to change it: a local round that is late is over before the next begins.
    """

    federation: str
    partition: int

    @property
    def folder(self) -> Path:
        """Where this client's files are."""
        return home() / "state" / self.federation / str(self.partition)

    def alone(self) -> AbstractContextManager[None]:
        """Wait until no other process works with this state, and hold it until the block ends."""
        self._made()
        return locked(self.folder / ".lock")

    def load(self, layout: Layout, before: int) -> Kept:
        """What was kept after the newest round before this one; nothing at first."""
        found = next(((n, p) for n, p in reversed(self._files()) if n < before), None)
        if found is None:
            return Kept()
        number, path = found
        try:
            with safe_open(path, framework="numpy") as file:
                meta = file.metadata() or {}
                if meta.get("version") != VERSION:
                    raise BractError(f"local state {path} has version {meta.get('version')}, this is {VERSION}")
                if meta.get("layout") != layout.fingerprint.hex():
                    raise BractError(
                        f"local state {path} belongs to layout {meta.get('layout')}, this run has "
                        f"{layout.fingerprint.hex()}"
                    )
                parts: Parts = {part: file.get_tensor(part) for part in PARTS if part in file.keys()}  # noqa: SIM118
                notes = {key: value for key, value in meta.items() if key not in OURS}
                return Kept(parts, notes, number)
        except (SafetensorError, OSError, ValueError) as error:
            raise BractError(f"local state {path} is damaged: {error}") from error

    def save(self, layout: Layout, round_: int, kept: Kept) -> None:
        """Keep this as it is after this round."""
        self._made()
        for left in self.folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            left.unlink()
        meta = {**kept.notes, "version": VERSION, "layout": layout.fingerprint.hex()}
        with replacing(self.folder / f"round-{round_:06d}.safetensors") as temporary:
            save_file({str(name): value for name, value in kept.parts.items()}, temporary, metadata=meta)
            temporary.chmod(0o600)
        for number, path in self._files():
            # A later file is of a future that a resumed run left; two are kept of the past.
            if number > round_ or path not in [p for _, p in self._files()[-2:]]:
                path.unlink()

    def _made(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def _files(self) -> list[tuple[int, Path]]:
        found = self.folder.glob("round-*.safetensors")
        return sorted((int(path.stem.removeprefix("round-")), path) for path in found)
