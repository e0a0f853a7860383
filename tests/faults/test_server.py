"""The server is killed in mid-training: `bract run` ends and says how to go on, and that gives the same bits."""

import json
import re
import shlex
import time

import pytest

from bract.settings.read import read
from server_app.rounds import run
from tests.faults.telling import tell
from tests.harness import InProcessGrid
from tests.machines import Machines, kill, listens, parts, until

pytestmark = pytest.mark.long
NODES, ROUNDS = 2, 3
PRIVATE = {"privacy.unit": "example", "strategy.name": "ffa"}


# The victim, the unit of privacy, and whether the SuperLink is started again before `bract run` has given up.
CASES = [
    ("serverapp", "none", True),
    ("serverapp", "example", True),
    ("superlink", "none", True),
    ("superlink", "example", False),
]
REASONS = {
    ("serverapp", True): "its ServerApp ended without a word; was it killed?",
    ("superlink", True): "its ServerApp ended without a word; was it killed?",
    ("superlink", False): "its SuperLink does not answer",
}


@pytest.mark.parametrize(("victim", "unit", "at_once"), CASES)
def test_killed_in_training(tmp_path, config, victim, unit, at_once):
    values = config(
        {"strategy.name": "fedit", "rounds": ROUNDS, "federation.deadline": 200.0, "federation.nodes": NODES}
        | (PRIVATE if unit == "example" else {})
    )
    database = ("--database", tmp_path / "link.db") if victim == "superlink" else ()
    with Machines(tmp_path) as machines:
        link = machines.link(*database)
        machines.node(0, NODES)
        machines.node(1, NODES, 'fault="wait@2"')
        killed = machines.submit(values)
        until(machines.flag("1-2").exists, 200, "client 1 is in the training of round 2")
        begun = time.monotonic()
        if victim == "serverapp":
            kill(machines.server_app())
        else:
            kill(link)
            until(lambda: not listens(machines.port), 20, "the SuperLink is gone")
            if at_once:
                machines.link(*database)
        assert killed.wait(200) == 1
        ended = time.monotonic() - begun
        if not at_once:
            machines.link(*database)
        shown = machines.log("submit")
        error = shown.splitlines()[-1]
        print(shown)
        assert REASONS[victim, at_once] in error
        spent = {name: [e["round"] for e in entries] for name, entries in machines.ledgers().items()}
        machines.flag("1-2-go").touch()
        # What the user is told to type is what is typed.
        command = shlex.split(re.search(r"^go on with: (bract run .*)$", shown, re.MULTILINE)[1])
        begun = time.monotonic()
        resumed = machines.start("resumed", *command)
        assert resumed.wait(300) == 0, machines.log("resumed")
        seconds = time.monotonic() - begun
        ledgers = machines.ledgers()
    if unit == "none":
        here = values | {"run.folder": str(tmp_path / "here")}
        assert parts(tmp_path / "run") == parts(run(InProcessGrid(NODES, here), read(here)).path)
    else:  # client 1 was cut short in round 2: charged before, and not twice for the same request
        assert len(spent) == NODES
        assert sorted(spent.values()) == [[1, 2], [1, 2]]
        assert [[e["round"] for e in entries] for entries in ledgers.values()] == [[1, 2, 3]] * NODES
        stated = json.loads((tmp_path / "run" / "privacy.json").read_text())
        assert [line["rounds"] for line in stated["clients"]] == [3, 3]
    when = "at once" if at_once else "later"
    tell(f"{victim} killed, privacy {unit}, again {when}", to_exit=ended, to_resume=seconds, user=error)
