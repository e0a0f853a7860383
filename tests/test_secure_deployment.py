"""A sum that nobody sees into between real nodes with keys of their own, by a roster that the server never touched."""

import json

import pytest

from bract.flower import keys as node_keys
from tests.client_app.policy_files import write_policy
from tests.harness import TEXTS, tiny_data
from tests.machines import Machines, make_keys, parts

pytestmark = pytest.mark.long
SHARED = {
    "data.source": "node",
    "privacy.unit": "example",
    "privacy.delta": 1e-4,
    "privacy.noise": "shared",
    "federation.sum": "secure",
    "federation.deadline": 200.0,
    "train.steps": 1,
    "train.rate": 0.25,
    "rounds": 2,
}


def entries(machines):
    """The nodes' ledgers' entries of training."""
    found = [json.loads(path.read_text())["entries"] for path in sorted((machines.home / "ledger").glob("own-*.json"))]
    return [[entry for entry in one if entry["lane"] == "train"] for one in found]


@pytest.mark.parametrize("roster", [True, False], ids=["roster", "none"])
def test_nodes_with_data_of_their_own_share_noise_where_their_operators_know_each_other(
    tmp_path, model_folder, config, roster
):
    made = make_keys(tmp_path / "keys")
    publics = [made / "nodes" / f"node{i}.pub" for i in range(3)]
    peers = {}
    if roster:
        node_keys.roster(tmp_path / "roster", publics)
        peers = {"peers.roster": str(tmp_path / "roster")}
    values = config({**SHARED, "run.folder": str(tmp_path / "run"), "data.labels": json.dumps(list(TEXTS))})
    with Machines(tmp_path, keys=made) as machines:
        machines.link()
        for i in range(3):
            data = tiny_data(tmp_path / f"site{i}.csv", copies=4 + i)
            # Three bodies of data: nodes on one machine that had the same rows would have one ledger.
            data.write_text(
                "".join(
                    line.replace(",", f" at {i},", int("label" not in line))
                    for line in data.read_text().splitlines(keepends=True)
                )
            )
            policy = write_policy(
                tmp_path / f"policy{i}.toml",
                model_folder,
                data,
                **{
                    "data.name": f"site {i}",
                    "privacy.measuring": "noisy",
                    "privacy.largest-delta": 1e-3,
                    "privacy.epsilon": 40.0,
                    **peers,
                },
            )
            machines.register(i)
            machines.node(i, 3, f'policy="{policy}"')
        assert machines.submit(values).wait(300) == 0, machines.log("submit")
    statement = json.loads((tmp_path / "run" / "privacy.json").read_text())
    assert statement["against"]["server"] == ("active" if roster else "honest-but-curious")
    assert statement["against"]["roster"] == roster
    assert statement["epsilon_max"] <= 8.0
    ledgers = entries(machines)
    assert [len(one) for one in ledgers] == [2, 2, 2]
    # Who has no roster trusts nobody, and adds all of the noise itself.
    assert {entry["honest"] for one in ledgers for entry in one} == {2 if roster else 0}
    assert {entry["roster"] for one in ledgers for entry in one} == {roster}
    assert parts(tmp_path / "run")[0] == 2
