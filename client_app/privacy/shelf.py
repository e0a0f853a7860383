"""Where ledgers are, and which one is that of a body of data."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bract.files import home, locked
from bract.privacy.spending import Limit
from client_app.privacy.body import Body
from client_app.privacy.ledger import Ledger, known

PLAIN = re.compile(r"[^0-9A-Za-z._-]+")
OWN = "own-"  # the names of nodes' own ledgers begin so


@contextmanager
def opened(body: Body, limit: Limit | None = None) -> Iterator[Ledger]:
    """The ledger of a body of data, locked: two processes cannot spend the same budget.

    It belongs to the data and to nothing that a server sets. Where several turn out to be of the same data, they
    become one. A damaged one raises BractError; it is never begun anew in silence.
    """
    with ExitStack() as locks:
        if body.own:
            path = _own(body, limit, locks)
        else:
            path = ledger_path(body.source, body.partition)
            _folder()
            locks.enter_context(locked(path.with_suffix(".lock")))
        ledger = Ledger(path)
        ledger.know(body, limit)
        yield ledger


def ledger_path(source: str, partition: int) -> Path:
    """Where a simulation's is. The readable part of the name may be cut, the digest tells sources apart."""
    return home() / "ledger" / f"{_stem(source)}-{partition}.json"


def own_ledgers() -> list[Path]:
    """Those of nodes' own data."""
    return sorted((home() / "ledger").glob(f"{OWN}*.json"))


def _own(body: Body, limit: Limit | None, locks: ExitStack) -> Path:
    """The path of an own body's ledger, whose lock `locks` holds until they end."""
    while True:
        with locked(_folder() / ".index"):  # nobody else looks or makes one meanwhile
            path = _found(body, limit)
        with ExitStack() as held:
            held.enter_context(locked(path.with_suffix(".lock")))
            if path.exists():  # it was not taken into another one while it was waited for
                locks.push(held.pop_all())
                return path


def _found(body: Body, limit: Limit | None) -> Path:
    """The one ledger that is the body's: found, made, or made one of several, which are waited for."""
    found = [path for path in own_ledgers() if body.is_that(*known(path))]
    path = found[0] if found else _folder() / f"{OWN}{secrets.token_hex(8)}.json"
    others = [*found[1:], *_of_before(body)]
    if found and not others:
        return path
    with ExitStack() as held:
        for one in (path, *others):
            held.enter_context(locked(one.with_suffix(".lock")))
        Ledger(path).know(body, limit)
        for other in others:
            Ledger(path).take_in(Ledger(other))
    return path


def _of_before(body: Body) -> list[Path]:
    """Ledgers of the same file by the name that they had when a node's data were known by their path."""
    found = sorted(_folder().glob(f"{_stem(body.source)}-*.json"))
    return [path for path in found if '"version": 1' in path.read_text(encoding="utf-8")[:40]]


def _stem(source: str) -> str:
    tail = PLAIN.sub("-", source)[-40:].strip("-.")
    return f"{tail}-{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def _folder() -> Path:
    folder = home() / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder
