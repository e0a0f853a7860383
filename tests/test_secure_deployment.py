"""A secure sum over real nodes: keys, TLS, and policies with a roster of the members' keys or without one."""

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
    found = []
    for i in range(NODES):
        data = tiny_data(folder / f"site{i}.csv", 8 + i)
        # Nodes on one machine that had the same rows would have one ledger.
        lines = data.read_text().splitlines(keepends=True)
        data.write_text("".join([lines[0], *(line.replace(",", f" at {i},", 1) for line in lines[1:])]))
        found.append(f'policy="{write_policy(folder / f"policy{i}.toml", model, data, **words)}"')
    return found


def roster_of(keys):
    """As the operators make it."""
    public = [keys / "nodes" / f"node{i}.pub" for i in range(NODES)]
    subprocess.run([BIN / "bract", "keys", "roster", keys / "roster", *public], check=True, stdout=subprocess.DEVNULL)
    return keys / "roster"


def played(machines, configs, values):
    """The run, which has to end well."""
    machines.link()
    if machines.keys is not None:
        machines.register(*range(NODES))
    for i, config in enumerate(configs):
        machines.node(i, NODES, config)
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
        played(machines, configs, config({**VALUES, **SHARED}))
        ledgers, stated, shown = machines.ledgers(), machines.stated(), machines.log("submit")
    against = {"server": "active" if known else "honest-but-curious", "roster": known, "honest": 2, "noise": "shared"}
    assert {name: stated["against"][name] for name in against} == against
    assert [(line["rounds"], line.get("honest", 0)) for line in stated["clients"]] == [(ROUNDS, 2 * known)] * NODES
    assert len(ledgers) == NODES
    for entries in ledgers.values():
        trained = [(e["round"], e["honest"], e["roster"]) for e in entries if e["lane"] == "train"]
        assert trained == [(i, 2 * known, known) for i in range(1, ROUNDS + 1)]
    assert {row["status"] for row in clients(tmp_path / "run").values()} == {"merged"}
    assert 0 < stated["epsilon_max"] < 8.1
    assert ("signed with registered keys" in shown) == known
    assert ("no node has a roster: sums are without signatures" in shown) != known
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("keys", [True, False], ids=["roster", "no keys"])
def test_the_model_is_that_of_a_run_in_one_process(tmp_path, config, model_folder, keys):
    place = make_keys(tmp_path / "keys", NODES) if keys else None
    open_ = nodes_of(tmp_path / "sites", model_folder, **OPEN)
    configs = (
        nodes_of(tmp_path / "signed", model_folder, **OPEN, **{"peers.roster": str(roster_of(place))})
        if keys
        else open_
    )
    values = config({**VALUES, "strategy.name": "fedit"})
    with Machines(tmp_path, keys=place) as machines:
        played(machines, configs, values)
        shown = machines.log("submit")
    assert ("signed with registered keys" in shown) == keys
    assert ("not every node has a key: sums are without signatures" in shown) != keys
    here = config({**VALUES, "strategy.name": "fedit", "run.folder": str(tmp_path / "here")})
    own = {i: {"policy": words.removeprefix('policy="').removesuffix('"')} for i, words in enumerate(open_)}
    folder = run(InProcessGrid(NODES, here, node_config=own), read(here))
    assert parts(folder.path) == parts(tmp_path / "run")
