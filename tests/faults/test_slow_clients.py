"""One client of three does not answer round 2 of 3 in time, or cannot write to its disk."""

import subprocess
import time
from contextlib import contextmanager, suppress

import pytest

from tests.faults.telling import tell
from tests.faults.test_clients import NODES, ROUNDS, without
from tests.machines import Machines, clients, parts, rows, until

pytestmark = pytest.mark.long
VALUES = {"strategy.name": "fedit", "rounds": ROUNDS, "federation.nodes": NODES}
PRIVATE = {**VALUES, "privacy.unit": "example"}
LATE = "no reply by the deadline"


def test_a_client_hangs(tmp_path, config):
    deadline = 15.0
    with Machines(tmp_path) as machines:
        machines.link()
        nodes = [machines.node(i, NODES, 'fault="late@2"' if i == 1 else "") for i in range(NODES)]
        done = machines.submit(config({**VALUES, "federation.deadline": deadline}))
        until(machines.flag("1-2").exists, 200, "client 1 hangs")
        begun = time.monotonic()
        assert done.wait(200) == 0, machines.log("submit")
        seconds = time.monotonic() - begun
        begun = time.monotonic()
        nodes[1].terminate()  # its operator starts the node again
        nodes[1].wait(60)
        until(lambda: not machines.under("node1"), 20, "nothing of the node is left")
        ended = time.monotonic() - begun
    assert [clients(tmp_path / "run")[1, i]["reason"] for i in (1, 2, 3)] == ["", LATE, LATE]
    assert f"1 failed (client 1: {LATE})" in machines.log("submit")
    assert f"client 1 failed: {LATE}" in machines.said()
    assert parts(tmp_path / "run") == without(config, {(1, 2), (1, 3)})
    tell("client hangs", deadline=deadline, seconds=seconds, to_end_the_node=ended, user=LATE)


def test_a_reply_to_a_closed_round(tmp_path, config):
    """It changes nothing, and its client is in the next round; what it spent and what it keeps is whole."""
    values = config({**PRIVATE, "strategy.name": "fedsa", "federation.deadline": 20.0})
    with Machines(tmp_path) as machines:
        machines.link()
        for i in range(NODES):
            machines.node(i, NODES, 'fault="late@2"' if i == 1 else "")
        done = machines.submit(values)
        until(machines.flag("1-2").exists, 200, "client 1 has trained and does not answer")
        begun = time.monotonic()
        until(lambda: len(rows(tmp_path / "run")) == 3, 100, "round 2 is closed")
        closed = time.monotonic() - begun
        machines.flag("1-2-go").touch()
        assert done.wait(200) == 0, machines.log("submit")
        sent = machines.log("node1").count("Sending: train message")
        ledgers, stated = machines.ledgers(), machines.stated()
        kept = sorted(path.stem for path in machines.home.glob("state/*/1/*.safetensors"))
    assert sent == 3
    found = clients(tmp_path / "run")
    assert [found[1, i]["status"] for i in (1, 2, 3)] == ["merged", "failed", "merged"]
    assert found[1, 2]["reason"] == LATE
    assert [(r["clients"], r["failed"]) for r in rows(tmp_path / "run")[1:]] == [(3, 0), (2, 1), (3, 0)]
    assert [[e["round"] for e in entries] for entries in ledgers.values()] == [[1, 2, 3]] * NODES
    assert [(line["rounds"], line["unheard"]) for line in stated["clients"]] == [(3, 0)] * NODES
    assert kept == ["round-000002", "round-000003"]
    tell("reply to a closed round", deadline=20.0, to_close=closed, user=found[1, 2]["reason"])


@contextmanager
def small_disk(folder):
    """A file system of its own that is soon full."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("when", "spent"), [("pause", [1, 3]), ("wait", [1, 2, 3])], ids=["before", "after"])
def test_a_full_disk(tmp_path, config, when, spent):
    """Before training nothing is spent and nothing trained; after it the round is spent, and nothing leaves."""
    values = config({**PRIVATE, "federation.deadline": 200.0})
    with small_disk(tmp_path / "disk") as disk, Machines(tmp_path) as machines:
        machines.link()
        for i in range(NODES):
            one = i == 1
            machines.node(i, NODES, f'fault="{when}@2"' if one else "", more={"BRACT_HOME": str(disk)} if one else None)
        done = machines.submit(values)
        until(machines.flag("1-2").exists, 200, "client 1 is in round 2")
        with (disk / "full").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1024))
        begun = time.monotonic()
        machines.flag("1-2-go").touch()
        until(lambda: "client 1 failed" in machines.said(), 100, "the server hears of it")
        seconds = time.monotonic() - begun
        (disk / "full").unlink()
        assert done.wait(200) == 0, machines.log("submit")
        machines.home = disk
        ((entries),) = machines.ledgers().values()
        stated, found = machines.stated(), clients(tmp_path / "run")
    assert "No space left on device" in found[1, 2]["reason"]
    assert [found[1, i]["status"] for i in (1, 2, 3)] == ["merged", "failed", "merged"]
    assert [(r["clients"], r["failed"]) for r in rows(tmp_path / "run")[1:]] == [(3, 0), (2, 1), (3, 0)]
    assert [e["round"] for e in entries] == spent
    assert [line["rounds"] for line in stated["clients"]] == [3, len(spent), 3]
    tell(f"client's disk full, {when}", seconds=seconds, spent=spent, user=found[1, 2]["reason"])
