"""One ledger for one body of data: whatever it is called, wherever it lies, and however it has grown."""

import json
import math
import multiprocessing
import os
import time
from threading import Thread

import numpy as np
import pytest

from bract.errors import BractError
from bract.files import node_secret
from bract.privacy.accounting import Use
from bract.privacy.digests import digests_of, united
from bract.privacy.lifetime import divergences
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


@pytest.mark.parametrize("after", range(9))
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
        assert len(ledger.digests) == 200
        assert ledger.reply(entry(federation="g")) == b"reply"
    assert len(own_ledgers()) == 1


def test_two_entries_that_look_alike_stay_two_when_their_ledgers_become_one(spent):
    """Two nodes of one machine answer the same request in the same second; later their data turn out to be the same."""
    other = [(f"mine {i}", "late") for i in range(100)]
    with opened(body(rows=other)) as ledger:
        ledger.write(entry())
    assert entries_of(body(rows=[*ROWS, *other])) == [2]


@pytest.mark.parametrize("later", [0, 1])
def test_the_later_of_two_replies_in_one_run_stays(home, later):
    """Or else the newest entry would seem never answered, and be trained again for free, with other noise."""
    others = [[(f"{name} {i}", "late") for i in range(100)] for name in ("mine", "yours")]
    newest = [entry(request=str(i), time="2026-01-02" if i == later else "2026-01-01") for i in range(2)]
    for rows, one in zip(others, newest, strict=True):
        with opened(body(rows=rows)) as ledger:
            ledger.write(one)
            ledger.keep_reply(one, one.request.encode())
    with opened(body(rows=[*others[0], *others[1]])) as ledger:
        assert ledger.newest("train") == newest[later]
        assert ledger.reply(newest[later]) == str(later).encode()


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
        assert len(ledger.uses("train", "s")) == len(ledger.uses("holdout", "s")) == 2
    assert entries_of(body(), body(partition=3)) == [2, 2]
    assert not list((home / "ledger").glob("*.reply"))


@pytest.mark.parametrize(("damage", "words"), [("cut", "is damaged"), ("gone", "is gone")])
def test_one_of_before_that_is_damaged_or_gone_is_not_passed_over(home, damage, words):
    path = ledger_path("file:/data.csv", 3)
    path.parent.mkdir(parents=True)
    path.with_name(f"{path.stem}-f.reply").write_bytes(b"0" * 40)
    if damage == "cut":
        path.write_text("")
    with pytest.raises(BractError, match=words), opened(body()):
        pass
    assert not own_ledgers()


def test_one_that_is_gone_is_not_begun_anew(spent):
    (path,) = own_ledgers()
    path.unlink()
    for one in (body(), body(name="notes", rows=ROWS[:1])):
        with pytest.raises(BractError, match="is gone: nothing is trained on this data until it is restored"):
            entries_of(one)


def test_what_is_left_of_one_that_never_spent_stops_nobody(home):
    """Killed while it was made, after its examples were written."""
    with opened(body()) as ledger:
        pass
    ledger.path.unlink()
    assert entries_of(body()) == [0]


def test_an_older_copy_beside_what_is_newer_is_refused(spent, tmp_path):
    (path,) = own_ledgers()
    copy = path.read_bytes()
    with opened(body()) as ledger:
        ledger.write(entry(2))
    whole = path.read_bytes()
    path.write_bytes(copy)
    with pytest.raises(BractError, match="is older than own-.* beside it"), opened(body()):
        pass
    path.write_bytes(whole)
    with opened(body()) as ledger:
        ledger.keep_reply(entry(2), b"reply")
    path.write_bytes(copy)
    path.with_suffix(".seq").unlink()
    with pytest.raises(BractError, match="is older than own-.* beside it"), opened(body()):
        pass


def test_one_that_others_may_write_or_whose_examples_are_damaged_is_refused(spent):
    (path,) = own_ledgers()
    path.chmod(0o666)
    with pytest.raises(BractError, match="may be written by others: chmod go-w"), opened(body()):
        pass
    path.chmod(0o600)
    with opened(body(rows=[("mine", "late")])) as one:
        other = one.path
    path.with_suffix(".seq").write_text("{}")
    with pytest.raises(BractError, match=r"\.seq is damaged"), opened(body()):
        pass
    path.with_suffix(".seq").unlink()
    examples = path.with_suffix(".examples")
    for left in (examples.read_bytes()[:-8], other.with_suffix(".examples").read_bytes(), None):
        examples.unlink()
        if left is not None:
            examples.write_bytes(left)  # cut; whole, and of another time; gone
        with pytest.raises(BractError, match=r"\.examples is damaged, or older than its ledger, or gone"):
            entries_of(body())


def test_lanes_stand_side_by_side_and_another_split_counts_for_both(spent):
    with opened(body()) as ledger:
        ledger.write(entry(2, lane="holdout", rate=1.0, steps=1, split="s"))
        ledger.write(entry(3, split="s"))
        counted = {lane: [use.steps for use in ledger.uses(lane, "s")] for lane in ("train", "holdout")}
        assert counted == {"train": [20, 20], "holdout": [20, 1]}  # the first was of another split
        assert [use.sigma for use in ledger.uses("train", "s", "person")] == [0.0, 0.0]
        ledger.write(entry(4, split="s", unit="person"))
        assert ledger.uses("train", "s", "person")[-1] == Use(1.0, 0.05, 20)
        assert ledger.uses("train", "s")[-1] == Use(0.5, 0.05, 40)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("order", [2, 3, 8])
def test_what_protects_persons_is_counted_for_an_example_as_far_as_it_protects_it(sigma, rate, order):
    """A person's part turns round when one example is added. By integration: more than for a person, not too little."""
    x = np.linspace(-60, 60, 2_000_001)
    one, other = (
        np.logaddexp(np.log1p(-rate) - x**2 / (2 * sigma**2), np.log(rate) - (x - at) ** 2 / (2 * sigma**2))
        for at in (1, -1)
    )
    integral = np.exp(order * one + (1 - order) * other).sum() * (x[1] - x[0]) / (sigma * math.sqrt(2 * math.pi))
    true = math.log(integral) / (order - 1)

    def counted(use):
        (found,) = divergences(use.sigma, use.rate, (order,))
        return use.steps * found

    person = entry(sigma=sigma, rate=rate, steps=1, unit="person")
    assert counted(person.counted("person")) < true <= counted(person.counted("example"))


def test_the_limit_that_was_seen_last_is_known(spent):
    with opened(body(), Limit(3.0, 1e-6, "person")):
        pass
    with opened(body()):  # where measuring asks whether a round was answered
        pass
    (path,) = own_ledgers()
    assert Ledger(path).limit == Limit(3.0, 1e-6, "person")


def test_digests_tell_nothing_without_the_secret():
    one, two = (digests_of(ROWS, secret, "example") for secret in (b"a" * 32, b"b" * 32))
    assert len(one) == len(two) == 100
    assert not len(np.intersect1d(one, two))
    assert not len(np.intersect1d(one, digests_of(ROWS, b"a" * 32, "person")))


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


def test_what_is_learned_of_a_body_is_known_before_another_looks(spent):
    """Rows were appended while a round runs. Who has these rows alone waits, too, and is no stranger then."""
    more = [(f"new {i}", "lost") for i in range(300)]
    found = []
    with opened(body()):
        waiting = [
            Thread(target=lambda rows=rows: found.extend(entries_of(body(rows=rows))))
            for rows in ([*ROWS, *more], more)
        ]
        for one in waiting:
            one.start()
            time.sleep(0.5)
        assert not found
    for one in waiting:
        one.join(60)
    assert found == [1, 1]
    assert len(own_ledgers()) == 1


def test_a_million_examples_are_found_quickly(home):
    digests = united(np.random.default_rng(0).integers(2**63, size=1_000_000, dtype=np.uint64))
    for part in (digests, digests[::2]):
        start = time.process_time()
        with opened(Body("file:/data.csv", 0, "", part, own=True)) as ledger:
            ledger.write(entry())
        assert time.process_time() - start < 3  # 0.2 s; the bound is for a slow machine
    assert len(own_ledgers()) == 1
