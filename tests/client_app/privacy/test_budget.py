"""What costs privacy is charged before it is done, given again for nothing, and never beyond a limit."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from bract.errors import BractError
from bract.privacy.mechanism import find_for_measuring
from bract.privacy.spending import Limit
from bract.settings.schema import PrivacySettings, Settings
from bract.wire.messages import METRICS, PAYLOAD, PLAN, REPORT, get_payload, payload_record
from bract.wire.plan import Plan
from client_app.privacy.body import Body
from client_app.privacy.budget import Account, charged
from client_app.privacy.ledger import LANES
from client_app.privacy.shelf import opened, own_ledgers

MECHANISM = find_for_measuring(PrivacySettings(epsilon=4.0, delta=1e-4, accountant="rdp"), 100, 1, 2)
DATA = Body("file:/data.csv", 3, "notes", np.arange(100, dtype=np.uint64), own=True)


def account(limit=10.0, unit="example", runs="example", **more):
    settings = Settings(privacy=PrivacySettings(unit=runs, accountant="rdp"))
    return Account(settings, DATA, 100, 100, Limit(limit, 1e-4, unit), "a split", "link.example:8000", **more)


def asked(account, lane="train", work=None, round_=1, federation="f", sent=0):
    """What a request comes to, and how often work was done for it."""
    done = []

    def ordinary(mechanism, noise):
        done.append(mechanism)
        return reply(noise.normal(3))

    plan = Plan(round=round_, federation=federation, trains=("B",), sends=("B",), receives=("B",))
    content = RecordDict({PLAN: plan.to_record(), PAYLOAD: payload_record(np.full(8, sent, dtype=np.uint8))})
    return charged(account, lane, content, plan, lambda: MECHANISM, work or ordinary), len(done)


def reply(numbers):
    return RecordDict(
        {
            REPORT: ConfigRecord({"status": "done"}),
            METRICS: MetricRecord({"steps": 1}),
            PAYLOAD: payload_record(np.frombuffer(numbers.tobytes(), dtype=np.uint8)),
        }
    )


def entries():
    with opened(DATA) as ledger:
        return ledger.entries


@pytest.mark.parametrize("lane", LANES)
def test_the_same_request_gets_the_same_bytes_and_is_charged_once(lane):
    (first, made), (second, again) = asked(account(), lane), asked(account(), lane)
    assert (made, again) == (1, 0)
    assert get_payload(first).tobytes() == get_payload(second).tobytes()
    assert first[REPORT] == second[REPORT]
    (entry,) = entries()
    assert (entry.lane, entry.split, entry.server, entry.unit) == (lane, "a split", "link.example:8000", "example")
    assert len(entry.time) == len("2026-01-01T00:00:00+00:00")


def test_the_lanes_reply_for_themselves():
    """A reply of one lane is neither given in the other nor put in its place."""
    (trained, _), (measured, made) = asked(account()), asked(account(), "holdout")
    assert made == 1
    again = [asked(account(), lane) for lane in LANES]
    assert [times for _, times in again] == [0, 0]
    assert [get_payload(one).tobytes() for one, _ in again] == [
        get_payload(one).tobytes() for one in (trained, measured)
    ]
    assert [entry.lane for entry in entries()] == list(LANES)


def test_another_payload_in_the_same_round_is_another_request():
    asked(account())
    assert asked(account(), sent=1)[1] == 1
    assert asked(account())[0][REPORT]["status"] == "abstained"  # its reply is gone, and the run's target is spent
    assert len(entries()) == 2


class Power(BaseException):
    pass


def cut(*_):
    raise Power


@pytest.mark.parametrize("lane", LANES)
def test_what_a_crash_cut_short_is_done_again_under_its_entry(lane):
    with pytest.raises(Power):
        asked(account(), lane, cut)
    assert len(entries()) == 1  # it was on disk before it was done
    assert asked(account(), lane)[1] == 1
    assert len(entries()) == 1


def test_a_round_that_was_cut_short_stays_the_newest_of_its_lane_while_another_is_measured():
    with pytest.raises(Power):
        asked(account(), work=cut)
    asked(account(), "holdout")
    assert asked(account())[1] == 1
    assert [entry.lane for entry in entries()] == list(LANES)


def test_one_that_was_cut_short_and_is_not_the_newest_is_charged_again():
    with pytest.raises(Power):
        asked(account(), work=cut)
    asked(account(), round_=2)
    assert asked(account(limit=100.0))[0][REPORT]["status"] == "abstained"  # by the run's target
    assert len(entries()) == 2


@pytest.mark.parametrize("fault", [ValueError("a secret text"), BractError("a secret text"), MemoryError("a secret")])
def test_work_that_fails_is_a_reply_that_tells_nothing_and_is_given_again(fault, caplog):
    def failing(*_):
        raise fault

    (first, _), (second, again) = asked(account(), work=failing), asked(account())
    assert first[REPORT]["status"] == "abstained"
    assert str(first[REPORT]["reason"]).startswith("a fault at this node, whose log has it as ")
    assert (second[REPORT], again) == (first[REPORT], 0)
    number = str(first[REPORT]["reason"]).rpartition(" ")[2]
    assert f"fault {number}: a secret" in caplog.text
    assert len(entries()) == 1


def test_the_limit_of_a_life_is_told_without_a_number_and_logged_with_them(caplog):
    mine = account(limit=3.0)
    assert asked(mine)[0][REPORT]["status"] == "done"
    second, made = asked(mine, federation="g")
    assert made == 0
    assert second[REPORT]["status"] == "abstained"
    words = str(second[REPORT]["reason"])
    assert "life of its data is reached" in words
    assert not any(character.isdigit() for character in words)
    assert "the lifetime limit of 3 would be passed" in caplog.text
    assert asked(mine, "holdout", federation="g")[1] == 1  # the lanes are of different examples
    assert len(entries()) == 2


def test_another_way_to_hold_out_counts_for_both_lanes():
    mine = account(limit=3.0)
    asked(mine)
    other = replace(mine, split="another split")
    assert [asked(other, lane, federation="g")[1] for lane in LANES] == [0, 0]


def test_the_limit_is_for_the_operator_s_unit_whatever_a_run_protects():
    """Once an example's rounds counted as no protection at all as soon as one run asked for persons."""
    asked(account())
    stronger = asked(account(limit=40.0, runs="person"), federation="g")
    assert stronger[1] == 1
    assert [entry.unit for entry in entries()] == ["example", "person"]
    assert asked(account(limit=40.0), "train", federation="h")[1] == 1
    for limit in (40.0, 1000.0):  # for persons the first one was none
        assert asked(account(limit=limit, unit="person", runs="person"), federation="i")[1] == 0


def test_an_older_ledger_beside_a_newer_reply_answers_nothing():
    asked(account())
    (path,) = own_ledgers()
    old = path.read_bytes()
    asked(account(limit=100.0), federation="g")
    path.write_bytes(old)
    with pytest.raises(BractError, match="is older than .* beside it"):
        asked(account())
    path.with_suffix(".seq").unlink()
    with pytest.raises(BractError, match=r"is older than .*-g-train\.reply beside it"):
        asked(account())
