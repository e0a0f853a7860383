"""Clients, or the server, are lost in round 2 of 3 of a secure sum over four clients, of which three must answer.

Whatever is lost: what was released is to the bit what a run in the open gives that lost the same replies, what was
spent is in the ledgers and the statement, and no number of a round was used for two vectors.
"""

import re
import shlex
import time
from collections import defaultdict

import pytest

from bract.settings.read import read
from server_app.rounds import run
from tests.faults.telling import tell
from tests.harness import InProcessGrid
from tests.machines import Machines, clients, kill, parts, rows, until

pytestmark = pytest.mark.long
NODES, ROUNDS = 4, 3
VALUES = {
    "strategy.name": "ffa",
    "rounds": ROUNDS,
    "train.steps": 1,
    "train.engine": "opacus",
    "train.rate": 0.25,
    "server.lr": 0.5,
    "privacy.unit": "example",
    "privacy.delta": 1e-4,
    "privacy.noise": "shared",
    "privacy.test-seed": "1",  # the noise of all is known, so factors can be compared
    "federation.sum": "secure",
    "federation.nodes": NODES,
    "federation.colluders": 1,
    "federation.survivors": 3,
    "federation.deadline": 200.0,
}
LATE = "no reply by the deadline"
LOST = "trainer was ended over this message"


def started(machines, faults):
    """The nodes, of which some have faults."""
    machines.link()
    return [machines.node(i, NODES, f'fault="{faults.get(i, "none")}"') for i in range(NODES)]


def in_the_open(config, lost=()):
    """The factors of the same run in one process, without masks, in which these clients' words never came."""
    more = {"federation.sum": "unmasked", "federation.deadline": 2.0}
    values, seen = config({**VALUES, **more}), defaultdict(int)
    values["run.folder"] += "-here"

    def tamper(partition, reply):
        if reply.metadata.message_type != "train":
            return reply
        seen[partition] += 1
        return None if (partition, seen[partition]) in lost else reply

    return parts(run(InProcessGrid(NODES, values, tamper=tamper), read(values)).path)


def require_right(machines, silent=()):
    """Every round is spent by everybody and said to be; a number has one vector, and a vector has one number.

    `silent`: (client, number) of those that sent none.
    """
    spent = {
        name: [e["round"] for e in entries if e["lane"] == "train"] for name, entries in machines.ledgers().items()
    }
    assert list(spent.values()) == [[1, 2, 3]] * NODES
    assert {e["honest"] for entries in machines.ledgers().values() for e in entries} == {2}
    stated = machines.stated()
    assert [(line["rounds"], line["unheard"], line["honest"]) for line in stated["clients"]] == [(3, 0, 2)] * NODES
    assert stated["against"]["server"] == "honest-but-curious"
    assert (stated["against"]["members"], stated["against"]["honest"], stated["against"]["roster"]) == (4, 2, False)
    vectors = sent(machines)
    assert {key: len(digests) for key, digests in vectors.items()} == dict.fromkeys(vectors, 1)
    assert len({digest for digests in vectors.values() for digest in digests}) == len(vectors)
    numbers = {(i, number) for i in range(NODES) for number in range(1, ROUNDS + 2)}  # the last one measures
    assert vectors.keys() == numbers - set(silent)


def sent(machines):
    """Digests of what left, by client and number."""
    found = defaultdict(set)
    for i in range(NODES):
        for line in (machines.folder / f"sent-{i}").read_text().splitlines():
            number, digest = line.split()
            found[i, int(number)].add(digest)
    return found


def test_one_is_killed_while_it_trains(tmp_path, config):
    with Machines(tmp_path) as machines:
        started(machines, {1: "wait-and-die@2"})
        done = machines.submit(config(VALUES))
        until(machines.flag("1-2").exists, 200, "client 1 trains in round 2")
        begun = time.monotonic()
        machines.flag("1-2-go").touch()
        assert done.wait(300) == 0, machines.log("submit")
        seconds = time.monotonic() - begun
        require_right(machines, {(1, 2)})
    found = clients(tmp_path / "run")
    assert [found[1, i]["status"] for i in (1, 2, 3)] == ["merged", "failed", "merged"]
    assert LOST in found[1, 2]["reason"]
    assert [(r["clients"], r["failed"]) for r in rows(tmp_path / "run")[1:]] == [(4, 0), (3, 1), (4, 0)]
    assert parts(tmp_path / "run") == in_the_open(config, {(1, 2)})
    tell("sum: killed in training", to_end=seconds, round=rows(tmp_path / "run")[2]["seconds"])


def test_one_is_killed_before_it_helps_to_unmask(tmp_path, config):
    """Its words are in the sum, and its own mask comes from the others' shares."""
    with Machines(tmp_path) as machines:
        started(machines, {1: "die-at-unmasking@2"})
        assert machines.submit(config(VALUES)).wait(400) == 0, machines.log("submit")
        shown = machines.log("submit")
        require_right(machines)
    assert "client 1 does not help to take off the masks: " in shown
    assert [(r["clients"], r["failed"]) for r in rows(tmp_path / "run")[1:]] == [(4, 0)] * 3
    assert parts(tmp_path / "run") == in_the_open(config)
    tell("sum: killed before unmasking", round=rows(tmp_path / "run")[2]["seconds"])


def test_one_answers_when_the_survivors_are_fixed(tmp_path, config):
    """Its vector has left, and changes nothing."""
    with Machines(tmp_path) as machines:
        started(machines, {1: "late@2"})
        done = machines.submit(config({**VALUES, "federation.deadline": 20.0}))
        until(machines.flag("1-2").exists, 200, "client 1 has trained and does not answer")
        begun = time.monotonic()
        until(lambda: len(rows(tmp_path / "run")) == 3, 100, "round 2 is closed")
        closed = time.monotonic() - begun
        machines.flag("1-2-go").touch()
        assert done.wait(200) == 0, machines.log("submit")
        require_right(machines)
    found = clients(tmp_path / "run")
    assert [found[1, i]["status"] for i in (1, 2, 3)] == ["merged", "failed", "merged"]
    assert found[1, 2]["reason"] == LATE
    assert parts(tmp_path / "run") == in_the_open(config, {(1, 2)})
    tell("sum: a late answer", deadline=20.0, to_close=closed)


def test_too_many_are_lost_and_come_back(tmp_path, config):
    """Nothing is released, the model stays, and the next round has a new set-up."""
    with Machines(tmp_path) as machines:
        started(machines, {0: "wait@3", 1: "wait-and-die@2", 2: "wait-and-die@2"})
        done = machines.submit(config(VALUES))
        for i in (1, 2):
            until(machines.flag(f"{i}-2").exists, 200, f"client {i} trains in round 2")
        before, begun = parts(tmp_path / "run"), time.monotonic()
        for i in (1, 2):
            machines.flag(f"{i}-2-go").touch()
        until(machines.flag("0-3").exists, 200, "client 0 trains in round 3")
        seconds = time.monotonic() - begun
        after = parts(tmp_path / "run")
        machines.flag("0-3-go").touch()
        assert done.wait(300) == 0, machines.log("submit")
        shown = machines.log("submit")
        require_right(machines, {(1, 2), (2, 2)})
    assert (before[0], after[0]) == (1, 2)
    assert before[1] == after[1]
    assert "round 2: nothing is released, and the model stays as it is: the words of 2 clients came, 3 are" in shown
    assert shown.count("a sum over 4 clients is agreed on") == 2
    assert [(r["clients"], r["failed"]) for r in rows(tmp_path / "run")[1:]] == [(4, 0), (0, 4), (4, 0)]
    assert parts(tmp_path / "run") == in_the_open(config, {(1, 2), (2, 2)})
    tell("sum: two killed in training, both back", to_next_training=seconds)


def test_too_many_are_lost_for_good(tmp_path, config):
    """The run ends with one line, and goes on when they are back."""
    with Machines(tmp_path) as machines:
        nodes = started(machines, {1: "wait@2", 2: "wait@2"})
        done = machines.submit(config(VALUES))
        for i in (1, 2):
            until(machines.flag(f"{i}-2").exists, 200, f"client {i} trains in round 2")
        before, begun = parts(tmp_path / "run"), time.monotonic()
        for i in (1, 2):
            kill(nodes[i])
        assert done.wait(300) == 1, machines.log("submit")
        ended, shown = time.monotonic() - begun, machines.log("submit")
        assert parts(tmp_path / "run") == (2, before[1])
        for i in (1, 2):
            until(lambda name=f"node{i}": not machines.under(name), 30, "nothing of the node is left")
            machines.node(i, NODES, 'fault="none"')
        seconds = resumed(machines, shown)
        require_right(machines, {(1, 2), (2, 2)})
    error = shown.splitlines()[-1]
    assert "a secure sum needs at least 3 members, each once; there are 2" in error
    assert parts(tmp_path / "run") == in_the_open(config, {(1, 2), (2, 2)})
    tell("sum: two nodes killed for good", to_exit=ended, to_resume=seconds, user=error)


@pytest.mark.parametrize("when", ["wait@2", "wait-at-unmasking@2"], ids=["training", "unmasking"])
def test_the_server_app_is_killed(tmp_path, config, when):
    """Before the survivors are fixed it asks for the same words again; then for the same survivors' masks alone."""
    with Machines(tmp_path) as machines:
        started(machines, {1: when})
        killed = machines.submit(config(VALUES))
        until(machines.flag("1-2").exists, 200, "client 1 is where it waits")
        begun = time.monotonic()
        kill(machines.server_app())
        assert killed.wait(200) == 1
        ended = time.monotonic() - begun
        machines.flag("1-2-go").touch()
        seconds = resumed(machines, machines.log("submit"))
        require_right(machines)
        again = [len((tmp_path / f"sent-{i}").read_text().splitlines()) - ROUNDS - 1 for i in range(NODES)]
    assert again == [int(when == "wait@2")] * NODES  # the very bytes once more, or none
    assert parts(tmp_path / "run") == in_the_open(config)
    tell(f"sum: ServerApp killed, {when}", to_exit=ended, to_resume=seconds)


def resumed(machines, shown):
    """What the user is told to type is what is typed; the seconds that it takes."""
    begun = time.monotonic()
    again = machines.start("resumed", *shlex.split(re.search(r"^go on with: (bract run .*)$", shown, re.MULTILINE)[1]))
    assert again.wait(300) == 0, machines.log("resumed")
    return time.monotonic() - begun
