"""One ledger for one body of data: whatever it is called, wherever it lies, and however it has grown."""

import json
import math
import multiprocessing
import os
import shutil

import numpy as np
import pytest

from bract.errors import BractError
from bract.files import node_secret
from bract.privacy.digests import digests_of
from bract.privacy.spending import Limit
from client_app.privacy.body import Body
from client_app.privacy.ledger import Ledger, _digest
from client_app.privacy.shelf import ledger_path, opened, own_ledgers
from tests.client_app.privacy.test_ledger import entry

ROWS = [(f"text {i}", "late") for i in range(100)]


def body(rows=ROWS, name="", source="file:/data.csv", partition=0):
    return Body(source, partition, name, digests_of(rows, node_secret(), "example"), own=True)


def entries_of(*bodies):
    found = []
    for one in bodies:
        with opened(one) as ledger:
            found.append(len(ledger.entries))
    return found


@pytest.fixture
def spent(home):
    with opened(body(name="notes")) as ledger:
        ledger.write(entry())


@pytest.mark.parametrize(
    "same",
    [
        lambda: body(partition=7),
        lambda: body(source="file:/copy/of/data.csv"),
        lambda: body(rows=ROWS[::-1]),
        lambda: body(rows=[*ROWS, *[(f"new {i}", "lost") for i in range(300)]]),
        lambda: body(rows=ROWS[:50]),
        lambda: body(rows=[("other", "late")], name="notes"),
        lambda: body(rows=[*ROWS[:12], *[(f"new {i}", "lost") for i in range(88)]]),
    ],
    ids=["partition", "copy", "order", "appended", "half", "name", "an eighth"],
)
def test_the_same_data_find_their_ledger(spent, same):
    assert entries_of(same()) == [1]
    assert len(own_ledgers()) == 1


def test_a_stranger_with_a_common_text_has_his_own(spent):
    assert entries_of(body(rows=[ROWS[0], *[(f"mine {i}", "late") for i in range(60)]])) == [0]
    assert len(own_ledgers()) == 2


def test_what_was_appended_is_known_from_then_on(spent):
    more = [(f"new {i}", "lost") for i in range(300)]
    assert entries_of(body(rows=[*ROWS, *more]), body(rows=more)) == [1, 1]


def test_two_that_turn_out_to_be_of_the_same_data_become_one(spent):
    other = [(f"mine {i}", "late") for i in range(100)]
    with opened(body(rows=other, name="mine")) as ledger:
        ledger.write(entry(federation="g"))
        ledger.keep_reply(entry(federation="g"), b"reply")
    with opened(body(rows=[*ROWS, *other])) as ledger:
        assert {e.federation for e in ledger.entries} == {"f", "g"}
        assert sorted(ledger.names) == ["mine", "notes"]
        assert ledger.reply(entry(federation="g")) == b"reply"
        assert len(ledger.digests) == 200
    assert len(own_ledgers()) == 1
    assert entries_of(body(), body(rows=other)) == [2, 2]


@pytest.mark.parametrize("after", range(4))
def test_a_merge_that_is_cut_short_loses_no_spending(spent, monkeypatch, after):
    """At any of its steps: what both have spent is there the next time, and counts once."""
    other = [(f"mine {i}", "late") for i in range(100)]
    with opened(body(rows=other)) as ledger:
        ledger.write(entry(federation="g"))
        ledger.keep_reply(entry(federation="g"), b"reply")
    steps = iter(range(100))

    class Killed(BaseException):
        pass

    def counting(real):
        def step(*arguments, **options):
            if next(steps) == after:
                raise Killed
            return real(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", counting(os.replace))
        patched.setattr("pathlib.Path.unlink", counting(type(ledger.path).unlink))
        with pytest.raises(Killed), opened(body(rows=[*ROWS, *other])):
            pass
    with opened(body(rows=[*ROWS, *other])) as ledger:
        assert sorted(e.federation for e in ledger.entries) == ["f", "g"]


def test_ledgers_of_before_there_were_names_are_taken_in(home):
    (home / "ledger").mkdir(parents=True)
    old = {k: v for k, v in vars(entry()).items() if k in ("federation", "round", "request", "sigma", "rate")}
    old |= {"steps": 20, "delta": 1e-5, "seeded": False}
    for partition in (0, 3):
        entries = [{**old, "round": partition}]
        path = ledger_path("file:/data.csv", partition)
        path.write_text(json.dumps({"version": 1, "digest": _digest(entries), "entries": entries}, indent=1))
        path.with_name(f"{path.stem}-f.reply").write_bytes(b"0" * 40)
    with opened(body()) as ledger:
        assert sorted(e.round for e in ledger.entries) == [0, 3]
    assert entries_of(body(), body(partition=3)) == [2, 2]
    assert not list((home / "ledger").glob("*.reply"))


def test_an_older_copy_beside_what_is_newer_is_refused(spent, tmp_path):
    (path,) = own_ledgers()
    copy = path.read_bytes()
    with opened(body()) as ledger:
        ledger.write(entry(2))
    whole = path.read_bytes()
    path.write_bytes(copy)
    with pytest.raises(BractError, match="is older than what lies beside it"), opened(body()):
        pass
    path.write_bytes(whole)
    with opened(body()) as ledger:
        ledger.keep_reply(entry(2), b"reply")
    path.write_bytes(copy)
    path.with_suffix(".seq").unlink()
    with pytest.raises(BractError, match="is older than what lies beside it"), opened(body()):
        pass


def test_one_that_others_may_write_or_whose_examples_are_damaged_is_refused(spent):
    (path,) = own_ledgers()
    path.chmod(0o666)
    with pytest.raises(BractError, match="may be written by others: chmod go-w"), opened(body()):
        pass
    path.chmod(0o600)
    examples = path.with_suffix(".examples")
    examples.write_bytes(examples.read_bytes()[:-8])
    with pytest.raises(BractError, match="is damaged"), opened(body()):
        pass


def test_lanes_stand_side_by_side_and_another_split_counts_for_both(spent):
    with opened(body()) as ledger:
        ledger.write(entry(2, lane="holdout", rate=1.0, steps=1, split="s"))
        ledger.write(entry(3, split="s"))
        counted = {lane: [use.steps for use in ledger.uses(lane, "s")] for lane in ("train", "holdout")}
        assert counted == {"train": [20, 20], "holdout": [20, 1]}  # the first was of another split
        assert [use.sigma for use in ledger.uses("train", "s", "person")] == [0.0, 0.0]
        ledger.write(entry(4, split="s", unit="person"))
        assert ledger.uses("train", "s")[-1].sigma == ledger.uses("train", "s", "person")[-1].sigma == 1.0


def test_the_limit_that_was_seen_last_is_known(spent):
    with opened(body(), Limit(3.0, 1e-6)):
        pass
    (path,) = own_ledgers()
    assert Ledger(path).limit == Limit(3.0, 1e-6)
    assert math.isclose(Limit(3.0, 1e-6).epsilon, 3.0)


def test_digests_tell_nothing_without_the_secret():
    one, two = (digests_of(ROWS, secret, "example") for secret in (b"a" * 32, b"b" * 32))
    assert len(one) == len(two) == 100
    assert not len(np.intersect1d(one, two))
    assert not len(np.intersect1d(one, digests_of(ROWS, b"a" * 32, "person")))


def test_the_node_s_secret_is_made_once_and_is_its_owner_s_alone(home):
    secret = node_secret()
    assert secret == node_secret()
    assert len(secret) == 32
    (home / "secret").chmod(0o644)
    with pytest.raises(BractError, match="is open to others than its owner: chmod go="):
        node_secret()


def _spend(home, number):
    os.environ["BRACT_HOME"] = home
    for i in range(8):
        with opened(body(partition=number, source=f"file:/copy{number}.csv")) as ledger:
            ledger.write(entry(len(ledger.entries) + 1, f"p{number}x{i}"))


def test_processes_that_begin_with_copies_of_the_same_data_share_one(home):
    node_secret()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_spend, args=(str(home), number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(own_ledgers()) == 1
    with opened(body()) as ledger:
        assert sorted(e.round for e in ledger.entries) == list(range(1, 25))
    shutil.rmtree(home / "ledger")
