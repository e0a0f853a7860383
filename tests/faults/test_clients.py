"""One client of three misbehaves in round 2 of 3: it is refused by name, and the round is made of the others."""

import time

import pytest

from bract.settings.read import read
from server_app.rounds import run
from tests.faults.telling import tell
from tests.harness import InProcessGrid
from tests.machines import Machines, clients, parts, rows

pytestmark = pytest.mark.long
NODES, ROUNDS = 3, 3

# kind: (deadline, status and words of the reason, of client 1 in round 2)
FAULTS = {
    "die": (300.0, "failed", "trainer was ended over this message"),
    "raise": (300.0, "failed", "the cable was cut"),
    "nan": (300.0, "refused", "not finite"),
    "layout": (300.0, "refused", "layout "),
    "replay": (300.0, "refused", "round 1, this is round 2"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_reply(tmp_path, config, kind):
    deadline, status, words = FAULTS[kind]
    values = config(
        {"strategy.name": "fedit", "rounds": ROUNDS, "federation.deadline": deadline, "federation.nodes": NODES}
    )
    folder = tmp_path / "run"
    with Machines(tmp_path) as machines:
        machines.link()
        for i in range(NODES):
            machines.node(i, NODES, f'fault="{kind}@2"' if i == 1 else "")
        begun = time.monotonic()
        done = machines.submit(values)
        assert done.wait(400) == 0, machines.log("submit")
        seconds = time.monotonic() - begun
        row = clients(folder)[1, 2]
        log, shown = machines.said(), machines.log("submit")
    assert (row["status"], words in row["reason"]) == (status, True), row
    assert f"client 1 {status}: {row['reason']}" in log
    assert f"1 failed (client 1: {row['reason']})" in shown
    assert [(r["clients"], r["failed"]) for r in rows(folder)[1:]] == [(3, 0), (2, 1), (3, 0)]
    assert parts(folder) == without(config, {(1, 2)})
    tell(f"client: {kind}", seconds=seconds, round=rows(folder)[2]["seconds"], user=row["reason"])


def without(config, lost, **more):
    """The factors of the same run in one process, in which these clients' replies never came."""
    values = config({"strategy.name": "fedit", "rounds": ROUNDS, "federation.deadline": 2.0, **more})
    values["run.folder"] += "-here"
    seen = {}

    def tamper(partition, reply):
        if reply.metadata.message_type != "train":
            return reply
        seen[partition] = seen.get(partition, 0) + 1
        return None if (partition, seen[partition]) in lost else reply

    return parts(run(InProcessGrid(NODES, values, tamper=tamper), read(values)).path)
