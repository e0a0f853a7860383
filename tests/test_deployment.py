"""The same app, unchanged, on Flower's deployment runtime: a SuperLink and SuperNodes on loopback."""

import pytest

from bract.settings.read import read
from server_app.rounds import run
from tests.harness import InProcessGrid
from tests.machines import Machines, parts, rows, until


@pytest.mark.long
@pytest.mark.parametrize("command", [["flower-supernode"], ["bract", "node"]], ids=["supernode", "node"])
def test_a_deployment_gives_the_same_bits_as_this_process(tmp_path, config, command):
    values = config({"strategy.name": "fedit", "federation.deadline": 300.0, "run.folder": str(tmp_path / "run")})
    with Machines(tmp_path) as machines:
        machines.link()
        nodes = [machines.node(i, 2, command=command) for i in range(2)]
        assert machines.submit(values).wait(500) == 0, machines.log("submit")
        for node in nodes:
            node.terminate()
        for i, node in enumerate(nodes):
            node.wait(40)
            until(lambda name=f"node{i}": not machines.under(name), 15, "nothing of the node is left")
    for i in (0, 1):
        # Once each; a library tells them again.
        told = [line for line in machines.log(f"node{i}").splitlines() if line.startswith("\x1b")]
        assert sum("resident trainer ready" in line for line in told) == len(command) - 1
        # Once in a process: the trainer stays, Flower's own processes last for a round.
        assert sum("training by the fused engine" in line for line in told) == (1 if len(command) > 1 else 2)
    here = config({"strategy.name": "fedit", "run.folder": str(tmp_path / "here")})
    folder = run(InProcessGrid(2, here), read(here))
    assert parts(folder.path) == parts(tmp_path / "run")
    assert [row["accuracy"] for row in folder.rounds()] == [row["accuracy"] for row in rows(tmp_path / "run")]
