"""Nodes that cannot take part: no run begins with them, and each is told why."""

import time

import pytest

from tests.faults.telling import tell
from tests.machines import Machines, make_keys, until

pytestmark = pytest.mark.long
VALUES = {"strategy.name": "fedit", "rounds": 1, "federation.deadline": 25.0, "federation.nodes": 2}


def test_two_nodes_with_one_partition(tmp_path, config):
    with Machines(tmp_path) as machines:
        machines.link()
        for name in ("one", "two"):
            machines.node(0, 2, name=name)
        begun = time.monotonic()
        done = machines.submit(config(VALUES))
        assert done.wait(120) == 1
        seconds, error = time.monotonic() - begun, machines.log("submit").splitlines()[-1]
        ids = [machines.node_id(name) for name in ("one", "two")]
    assert all(i in error for i in ids)
    assert "both have partition-id=0" in error
    assert not (tmp_path / "run").exists()
    assert not machines.ledgers()
    tell("two nodes with one partition id", seconds=seconds, user=error)


@pytest.mark.parametrize("fault", ["certificate", "key"])
def test_a_stranger_does_not_join(tmp_path, config, fault):
    keys, other = make_keys(tmp_path / "keys"), make_keys(tmp_path / "other")
    authority, own = (other, keys) if fault == "certificate" else (keys, other)
    key = own / "nodes" / "node1"
    trust = ["--root-certificates", authority / "ca.crt", "--auth-supernode-private-key", key]
    words = {"certificate": "CERTIFICATE_VERIFY_FAILED", "key": "Exit Code: 305"}[fault]
    with Machines(tmp_path, keys=keys) as machines:
        machines.link()
        machines.register(0, 1)
        machines.node(0, 2)
        begun = time.monotonic()
        stranger = machines.node(1, 2, name="stranger", trust=trust)
        until(lambda: words in machines.log("stranger"), 60, "the stranger is told why")
        told = time.monotonic() - begun
        begun = time.monotonic()
        assert machines.submit(config(VALUES)).wait(120) == 1
        seconds, error = time.monotonic() - begun, machines.log("submit").splitlines()[-1]
        assert "federation.nodes = 2: 1 joined within federation.deadline = 25 seconds (partition-id 0)" in error
        assert not (tmp_path / "run").exists()
        ended = stranger.poll()
        # The right one joins, beside it, and the run that follows completes.
        machines.node(1, 2)
        again = machines.submit(config(VALUES), "again")
        assert again.wait(200) == 0, machines.log("again")
    line = next(line for line in machines.log("stranger").splitlines() if words in line)
    tell(f"node with the wrong {fault}", told=told, its_exit=ended, run=seconds, user=error, node=line)
