"""A node is killed in mid-training and started again. With a key it keeps its place in the run."""

import re
import time

import pytest

from tests.faults.telling import tell
from tests.faults.test_clients import NODES, ROUNDS, without
from tests.machines import Machines, clients, kill, make_keys, parts, rows, until

pytestmark = pytest.mark.long
VALUES = {"strategy.name": "fedit", "rounds": ROUNDS, "federation.deadline": 250.0, "federation.nodes": NODES}
PRIVATE = {"privacy.unit": "example", "strategy.name": "ffa"}
HELD = 'fault="wait@2"'
SERVICE = 5.0  # seconds between two starts, as a service manager would have it


# Its command alone is killed, or all of its processes, as when the power fails; and when it is started again.
@pytest.mark.parametrize("window", ["its command alone", "inside", "outside"])
def test_with_a_key(tmp_path, config, window):
    values = config(VALUES | ({} if window == "outside" else PRIVATE))
    with Machines(tmp_path, keys=make_keys(tmp_path / "keys")) as machines:
        machines.link()
        machines.register(*range(NODES))
        nodes = [machines.node(i, NODES, HELD if i else "") for i in range(NODES)]
        done = machines.submit(values)
        for i in (1, 2):
            until(machines.flag(f"{i}-2").exists, 200, f"client {i} is in the training of round 2")
        begun = time.monotonic()
        for process in [nodes[1]] if window == "its command alone" else machines.under("node1"):
            kill(process)
        nodes[1].wait(10)
        until(lambda: not machines.under("node1"), 20, "nothing of the node is left")
        gone = time.monotonic() - begun
        if window == "outside":
            until(lambda: "client 1 failed" in machines.said(), 120, "the server hears of it")
        refused = 0
        while not comes_back(machines, machines.node(1, NODES)):
            refused += 1
            time.sleep(SERVICE)
        back = time.monotonic() - begun
        machines.flag("2-2-go").touch()
        assert done.wait(300) == 0, machines.log("submit")
        seconds = time.monotonic() - begun
        ledgers, lost = machines.ledgers(), clients(tmp_path / "run")[1, 2]
        words = re.findall(r"(?s)Exit Code: .*?(?=\n\S*INFO|\Z)", machines.log("node1"))
    assert (refused > 0) == (window == "inside")
    assert len(set(ids(machines))) == 1  # the same node, also for Flower
    assert lost["status"] == "failed"
    assert f"1 failed (client 1: {lost['reason']})" in machines.log("submit")
    assert [(r["clients"], r["failed"]) for r in rows(tmp_path / "run")[1:]] == [(3, 0), (2, 1), (3, 0)]
    if window == "outside":
        assert parts(tmp_path / "run") == without(config, {(1, 2)})
    else:  # round 2 was charged to client 1 although nobody ever had its reply, and the statement says so
        assert [[e["round"] for e in entries] for entries in ledgers.values()] == [[1, 2, 3]] * NODES
        assert [line["rounds"] for line in machines.stated()["clients"]] == [3] * NODES
    tell(
        f"node with a key killed: {window}",
        to_orphans_gone=gone,
        refused=refused,
        back=back,
        seconds=seconds,
        user=lost["reason"],
        node=" ".join(words[0].split()) if words else "",
    )


def ids(machines):
    return re.findall(r"SuperNode ID: (\d+)", machines.log("node1"))


def comes_back(machines, process):
    """Whether the SuperLink takes the node that was started again."""
    until(lambda: process.poll() is not None or len(ids(machines)) == 2, 60, "the node is refused or back")
    return process.poll() is None


def test_without_a_key_it_is_another_node(tmp_path, config):
    with Machines(tmp_path) as machines:
        machines.link()
        nodes = [machines.node(i, NODES, HELD if i == 1 else "") for i in range(NODES)]
        done = machines.submit(config(VALUES))
        until(machines.flag("1-2").exists, 200, "client 1 is in the training of round 2")
        begun = time.monotonic()
        kill(nodes[1])
        again = machines.node(1, NODES)
        assert done.wait(300) == 0, machines.log("submit")
        seconds = time.monotonic() - begun
        lost = clients(tmp_path / "run")
        assert again.poll() is None
    assert [lost[1, i]["status"] for i in (1, 2, 3)] == ["merged", "failed", "failed"]
    assert parts(tmp_path / "run") == without(config, {(1, 2), (1, 3)})
    assert "its node has left" in lost[1, 3]["reason"]
    tell("node killed, restarted without a key", seconds=seconds, user=lost[1, 2]["reason"], then=lost[1, 3]["reason"])


def test_bract_node_killed_leaves_nothing(tmp_path):
    with Machines(tmp_path) as machines:
        machines.link()
        node = machines.node(0, 1)
        until(lambda: "resident trainer ready" in machines.log("node0"), 60, "the node is up")
        assert len(machines.under("node0")) >= 2
        begun = time.monotonic()
        kill(node)
        until(lambda: not machines.under("node0"), 30, "nothing of the node is left")
        tell("bract node killed: its processes end", seconds=time.monotonic() - begun)
