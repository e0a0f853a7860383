"""What a member of a sum keeps on its disk: its secret, what it agreed on, and the newest round with its reply.

Guaranteed: a round number masks one vector and no other, over kills, restarts and replays of either side; a round is
unmasked for one set of survivors and no other.
"""

import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bract.errors import BractError, PublicError
from bract.files import home, locked, replacing, require_private
from bract.secure_sum.setup import KEY, Keys, Parameters, Secrets, print_of

VERSION = 1
OLDER_SETUP = "this set-up was begun with other parameters, or is not the newest here"
OLDER = "a round that is not newer than the newest here"


@dataclass(frozen=True)
class Agreed:
    """A set-up as this member knows it; its `print` is empty until it has seen all keys."""

    parameters: Parameters
    seed: bytes
    own: bytes  # its key message, as it was sent
    keys: tuple[bytes, ...] = ()  # all members'
    print: bytes = b""

    @property
    def secrets(self) -> Secrets:
        """Its own."""
        return Secrets(self.seed)

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Of each member, those with which it shares masks and secrets."""
        return self.parameters.neighbours(self.print)

    def shares_with(self, member: int, asked: Sequence[int]) -> list[int]:
        """Its neighbours among those that were asked, rising."""
        return sorted(set(self.neighbours[member]) & set(asked))

    def before(self, parameters: Parameters) -> bool:
        """Whether a set-up with these parameters is this one, or newer."""
        return self.parameters == parameters or self.parameters.generation < parameters.generation

    def key_of(self, member: int) -> Keys:
        """Another member's public keys."""
        return Keys.from_bytes(self.keys[member], self.parameters)


@dataclass(frozen=True)
class Newest:
    """The newest round that this member was asked for, in this run."""

    number: int = 0
    request: str = ""  # digest of what was asked
    asked: tuple[int, ...] = ()  # members, by their places
    context: str = ""  # digest that the masks were bound to
    sent: bool = False  # whether a masked vector was made
    survivors: tuple[int, ...] = ()  # for whom it was unmasked or confirmed

    def saved(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Memory:
    """A member's files in one run. Use it within `alone`."""

    federation: str
    partition: int
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", home() / "sums" / self.federation / str(self.partition))

    def alone(self) -> AbstractContextManager[None]:
        """Wait until no other process works with these files, and hold them until the block ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        return locked(self.folder / ".lock")

    # -- The set-up -----------------------------------------------------------------------------

    def agreed(self) -> Agreed | None:
        """The newest set-up that this member took part in; None if it has none."""
        path = self.folder / "setup.json"
        if not path.exists():
            return None
        require_private(path, "the secret of a sum", secret=True)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value["version"] != VERSION:
                raise BractError(f"{path} has version {value['version']}, this is {VERSION}")
            seed, own, print_ = (b64decode(value[name]) for name in ("seed", "own", "print"))
            keys = tuple(b64decode(one) for one in value["keys"])
            return Agreed(Parameters.from_text(value["parameters"]), seed, own, keys, print_)
        except (ValueError, KeyError, TypeError) as error:
            raise BractError(
                f"{path} is damaged ({type(error).__name__}): move it away, and a new set-up is made"
            ) from error

    def begun(self, parameters: Parameters) -> Agreed | None:
        """The set-up with these parameters if it was begun; a server does not go back to an older one."""
        agreed = self.agreed()
        if agreed is not None and not agreed.before(parameters):
            raise PublicError(OLDER_SETUP)
        return agreed if agreed is not None and agreed.parameters == parameters else None

    def begin(self, parameters: Parameters, own: bytes, seed: bytes) -> Agreed:
        """Keep a new secret, before anything that is made of it leaves."""
        return self._keep(Agreed(parameters, seed, own))

    def agree(self, agreed: Agreed, keys: Sequence[bytes]) -> Agreed:
        """Keep all members' keys; others for the same set-up are refused."""
        found = print_of(agreed.parameters, keys)
        if agreed.print and agreed.print != found:
            raise PublicError("other keys were sent for this set-up before")
        return agreed if agreed.print else self._keep(replace(agreed, keys=tuple(keys), print=found))

    def _keep(self, agreed: Agreed) -> Agreed:
        value = {
            "version": VERSION,
            "parameters": agreed.parameters.to_text(),
            "seed": b64encode(agreed.seed).decode(),
            "own": b64encode(agreed.own).decode(),
            "print": b64encode(agreed.print).decode(),
            "keys": [b64encode(one).decode() for one in agreed.keys],
        }
        self._write("setup.json", json.dumps(value).encode())
        return agreed

    # -- Rounds ---------------------------------------------------------------------------------

    def newest(self) -> Newest:
        """The newest round; number 0 before the first."""
        path = self.folder / "round.json"
        if not path.exists():
            return Newest()
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            lists = {name: tuple(value[name]) for name in ("asked", "survivors")}
            return Newest(**{**value, **lists})
        except (ValueError, KeyError, TypeError) as error:
            raise BractError(
                f"{path} is damaged ({type(error).__name__}): this run's sums cannot go on here"
            ) from error

    def note(self, newest: Newest) -> None:
        """Write it down."""
        self._write("round.json", json.dumps(newest.saved()).encode())

    def start(self, number: int, request: str, asked: Sequence[int]) -> Newest:
        """Take up a round: a new one, or this very request once more. Another one for the same number is refused."""
        before = self.newest()
        if number < before.number or (number == before.number and request != before.request):
            raise PublicError(f"{OLDER}, which is {before.number}")
        if number == before.number:
            return before
        found = Newest(number, request, tuple(asked))
        self.note(found)
        for path in self.folder.glob("reply-*"):
            path.unlink()
        return found

    def reply(self, number: int) -> bytes | None:
        """What was answered in this round, the newest one; never what was answered in another."""
        path = self.folder / f"reply-{number}"
        return path.read_bytes() if path.exists() else None

    def keep_reply(self, number: int, data: bytes) -> None:
        """Before it leaves."""
        self._write(f"reply-{number}", data)

    def _write(self, name: str, data: bytes) -> None:
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(data)
            temporary.chmod(0o600)


def new_seed() -> bytes:
    """From the operating system."""
    return secrets.token_bytes(KEY)
