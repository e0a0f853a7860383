"""A secure sum over real nodes: keys, TLS, and policies with a roster of the members' keys or without one."""

import json
import subprocess

import pytest

from bract.settings.read import read
from server_app.rounds import run
from tests.client_app.policy_files import OPEN, write_policy
from tests.harness import InProcessGrid, tiny_data
from tests.machines import BIN, Machines, clients, make_keys, parts

pytestmark = pytest.mark.long
NODES, ROUNDS = 3, 2
VALUES = {
    "strategy.name": "ffa",
    "rounds": ROUNDS,
    "train.steps": 1,
    "train.engine": "opacus",
    "data.source": "node",
    "federation.nodes": NODES,
    "federation.deadline": 200.0,
    "federation.sum": "secure",
}
SHARED = {
    "privacy.unit": "example",
    "privacy.noise": "shared",
    "privacy.delta": 1e-4,
    "train.rate": 0.25,
    "server.lr": 0.5,
}


def nodes_of(folder, model, **words):
    """The configuration of each node: a policy of its own, on data of its own."""
    folder.mkdir()
    data = [tiny_data(folder / f"site{i}.csv", 8 + i) for i in range(NODES)]
    return [f'policy="{write_policy(folder / f"{i}.toml", model, data[i], **words)}"' for i in range(NODES)]


def roster_of(keys):
    """As the operators make it."""
    public = [keys / "nodes" / f"node{i}.pub" for i in range(NODES)]
    subprocess.run([BIN / "bract", "keys", "roster", keys / "roster", *public], check=True, stdout=subprocess.DEVNULL)
    return keys / "roster"


def played(machines, configs, values, *, homes=False):
    """The run, which has to end well. `homes`: each node has its own, as on machines of their own."""
    machines.link()
    if machines.keys is not None:
        machines.register(*range(NODES))
    for i, config in enumerate(configs):
        machines.node(i, NODES, config, more={"BRACT_HOME": str(machines.folder / f"home{i}")} if homes else None)
    assert machines.submit(values).wait(400) == 0, machines.log("submit")


@pytest.mark.parametrize("known", [True, False], ids=["roster", "no roster"])
def test_whom_nodes_trust_is_what_they_add_and_what_is_said(tmp_path, config, model_folder, known):
    """With rosters each adds its share, against any server; without, all of the noise, and signatures promise nothing.

    All nodes have keys in both.
    """
    keys = make_keys(tmp_path / "keys", NODES)
    words = {"peers.roster": str(roster_of(keys))} if known else {}
    configs = nodes_of(tmp_path / "sites", model_folder, **{"privacy.delta": 1e-4}, **words)
    with Machines(tmp_path, keys=keys) as machines:
        played(machines, configs, config({**VALUES, **SHARED}), homes=True)
        stated, shown = machines.stated(), machines.log("submit")
    ledgers = [json.loads(path.read_text())["entries"] for path in sorted(tmp_path.glob("home*/ledger/*.json"))]
    against = {"server": "active" if known else "honest-but-curious", "roster": known, "honest": 2, "noise": "shared"}
    assert {name: stated["against"][name] for name in against} == against
    assert [(line["rounds"], line.get("honest", 0)) for line in stated["clients"]] == [(ROUNDS, 2 * known)] * NODES
    assert len(ledgers) == NODES
    for entries in ledgers:
        trained = [(e["round"], e["honest"], e["roster"]) for e in entries if e["lane"] == "train"]
        assert trained == [(i, 2 * known, known) for i in range(1, ROUNDS + 1)]
    assert {row["status"] for row in clients(tmp_path / "run").values()} == {"merged"}
    assert 0 < stated["epsilon_max"] < 8.1
    assert ("signed with registered keys" in shown) == known
    assert ("no node has a roster: sums are without signatures" in shown) != known
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("known", [True, False], ids=["roster", "no keys"])
def test_the_model_is_that_of_one_process(tmp_path, config, model_folder, known):
    """Bit by bit. Own data under policies is never summed in the open, so there the other run is masked, too."""
    values = {**VALUES, "strategy.name": "fedit"}
    if not known:
        values["data.source"] = config()["data.source"]
    keys = make_keys(tmp_path / "keys", NODES) if known else None
    words = {"peers.roster": str(roster_of(keys))} if keys else {}
    configs = nodes_of(tmp_path / "sites", model_folder, **OPEN, **words) if known else [""] * NODES
    with Machines(tmp_path, keys=keys) as machines:
        played(machines, configs, config(values))
        shown = machines.log("submit")
    assert ("signed with registered keys" in shown) == known
    assert ("not every node has a key: sums are without signatures" in shown) != known
    how = "secure" if known else "unmasked"
    here = config({**values, "federation.sum": how, "run.folder": str(tmp_path / "here")})
    alone = nodes_of(tmp_path / "alone", model_folder, **OPEN)
    own = {i: {"policy": one.split('"')[1]} for i, one in enumerate(alone)} if known else {}
    assert parts(run(InProcessGrid(NODES, here, node_config=own), read(here)).path) == parts(tmp_path / "run")
