"""What was spent is written down first, outlives everything, and is never forgotten in silence."""

import json
import math
import multiprocessing

import pytest

from bract.errors import BractError
from client_app.privacy.body import Body
from client_app.privacy.ledger import Entry, request_digest
from client_app.privacy.shelf import ledger_path, opened
from tests.harness import ledger_epsilon


def entry(round_=1, federation="f", request="r", **changes):
    return Entry(
        **{
            "federation": federation,
            "round": round_,
            "request": request,
            "sigma": 1.0,
            "rate": 0.05,
            "steps": 20,
            "delta": 1e-5,
            **changes,
        }
    )


def test_it_outlives_runs_and_adds_up(home):
    for run in ("f", "g"):
        for round_ in (1, 2):
            with opened(Body("demo", 0)) as ledger:
                ledger.write(entry(round_, run))
    with opened(Body("demo", 0)) as ledger:
        assert len(ledger.entries) == 4
        assert len(ledger.of("f")) == 2
        assert ledger_epsilon(ledger, "f") < ledger_epsilon(ledger)
    with opened(Body("demo", 1)) as other, opened(Body("file:/x", 0)) as another:
        assert other.entries == another.entries == []


def test_it_is_its_owners_alone(home):
    with opened(Body("file:/data/our customers.csv", 3)) as ledger:
        ledger.write(entry())
        ledger.keep_reply(entry(), b"x")
    folder = home / "ledger"
    assert folder.stat().st_mode & 0o077 == 0
    files = [path for path in folder.iterdir() if path.suffix != ".lock"]
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_a_reply_is_given_again_only_to_its_own_request():
    with opened(Body("demo", 0)) as ledger:
        ledger.write(entry())
        assert ledger.reply(entry()) is None
        ledger.keep_reply(entry(), b"\x00reply")
        assert ledger.reply(entry()) == b"\x00reply"
        assert ledger.find("f", 1, "r") == entry()
        assert ledger.find("f", 1, "other") is None
        assert ledger.reply(entry(request="other")) is None
        ledger.keep_reply(entry(2), b"newer")
        assert ledger.reply(entry()) is None
    assert request_digest(b"a", b"bc") != request_digest(b"ab", b"c")


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "list", "version", "binary"])
def test_a_damaged_ledger_stops_training_and_is_not_begun_anew(damage):
    with opened(Body("demo", 0)) as ledger:
        ledger.write(entry())
    path = ledger_path("demo", 0)
    text = path.read_text()
    path.write_bytes(
        {
            "cut": text[:-40].encode(),
            "changed": text.replace('"steps": 20', '"steps": 2').encode(),  # as if less had been spent
            "empty": b"",
            "list": b"[]",
            "version": text.replace('"version": 2', '"version": 9').encode(),
            "binary": b"\xff\xfe",
        }[damage]
    )
    before = path.read_bytes()
    with pytest.raises(BractError, match="privacy ledger .* is damaged|has version 9"), opened(Body("demo", 0)):
        pass
    assert path.read_bytes() == before


def test_a_ledger_that_is_gone_is_noticed():
    with opened(Body("demo", 0)) as ledger:
        ledger.write(entry())
        ledger.keep_reply(entry(), b"x")
    ledger_path("demo", 0).unlink()
    with pytest.raises(BractError, match="privacy ledger .* is gone"), opened(Body("demo", 0)):
        pass


def test_noise_that_was_no_secret_counts_as_none():
    with opened(Body("demo", 0)) as ledger:
        ledger.write(entry(seeded=True))
        assert ledger_epsilon(ledger) == math.inf


def _spend(home, count):
    import os

    os.environ["BRACT_HOME"] = home
    for i in range(count):
        with opened(Body("demo", 0)) as ledger:
            ledger.write(entry(len(ledger.entries) + 1, f"p{os.getpid()}x{i}"))


def test_two_processes_cannot_spend_the_same_budget(home):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_spend, args=(str(home), 10)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    with opened(Body("demo", 0)) as ledger:
        assert len(ledger.entries) == 30
        assert sorted(e.round for e in ledger.entries) == list(range(1, 31))  # nobody read what another was writing
    assert json.loads(ledger_path("demo", 0).read_text())["version"] == 2
