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
from client_app.privacy.ledger import Ledger, is_of_before, known

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
    """Those of nodes' own data; also where the ledger is gone and what it wrote last is still there."""
    return _ledgers(re.compile(rf"({OWN}[0-9a-f]{{16}})(\.json|\.seq|-.*\.reply)"))


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
    found = {path: told for path in own_ledgers() if body.is_that(*(told := known(path)))}
    path = next(iter(found), _folder() / f"{OWN}{secrets.token_hex(8)}.json")
    others = [*list(found)[1:], *_of_before(body)]
    if found and not others and body.is_known(*found[path]):
        return path
    # What is new is learned before anybody else looks: whoever shares no more than that with it must find it.
    with ExitStack() as held:
        for one in (path, *others):
            held.enter_context(locked(one.with_suffix(".lock")))
        Ledger(path).know(body, limit)
        for other in others:
            Ledger(path).take_in(Ledger(other))
    return path


def _of_before(body: Body) -> list[Path]:
    """Ledgers of the same file by the name that they had when a node's data were known by their path."""
    found = _ledgers(re.compile(rf"({re.escape(_stem(body.source))}-[0-9]+)(\.json|-.*\.reply)"))
    return [path for path in found if is_of_before(path)]


def _ledgers(name: re.Pattern[str]) -> list[Path]:
    """The ledgers whose files are called so, each once: the first group is the ledger's own name."""
    stems = {match[1] for path in _folder().iterdir() if (match := name.fullmatch(path.name))}
    return [_folder() / f"{stem}.json" for stem in sorted(stems)]


def _stem(source: str) -> str:
    tail = PLAIN.sub("-", source)[-40:].strip("-.")
    return f"{tail}-{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def _folder() -> Path:
    folder = home() / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder
