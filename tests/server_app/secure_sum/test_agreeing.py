"""A set-up among nodes that have keys, and rosters of them, or have not."""

import pytest

from bract.errors import BractError
from bract.flower import keys
from bract.flower.roster import NODE_KEY
from bract.secure_sum.setup import Parameters
from server_app.secure_sum.agreeing import SetUp, agree
from strategies import Member
from tests.client_app.policy_files import OPEN, write_policy
from tests.harness import InProcessGrid, tiny_data

NODES = 3


class Keyed(InProcessGrid):
    """Each client finds its own node's key in its environment, as a trainer does; one without has no such file."""

    def __init__(self, *args, patch, keys, **more):
        super().__init__(*args, **more)
        self.patch, self.keys = patch, keys

    def _deliver(self, message):
        key = self.keys / f"node{self.nodes[message.metadata.dst_node_id]}"
        self.patch.setenv(NODE_KEY, str(key) if key.exists() else "")
        super()._deliver(message)


@pytest.fixture
def agreed(tmp_path, monkeypatch, config, model_folder):
    """A set-up of three nodes, of which some have keys, and some rosters of all keys that there are."""

    def go(keyed, known):
        for i in keyed:
            keys.node(tmp_path / f"node{i}")
        keys.roster(tmp_path / "roster", [tmp_path / f"node{i}.pub" for i in keyed])
        own = {}
        for i in range(NODES):
            words = {"peers.roster": str(tmp_path / "roster")} if i in known else {}
            data = tiny_data(tmp_path / f"site{i}.csv")
            own[i] = {"policy": str(write_policy(tmp_path / f"{i}.toml", model_folder, data, **OPEN, **words))}
        values = config({"data.source": "node", "federation.sum": "secure"})
        grid = Keyed(NODES, values, node_config=own, patch=monkeypatch, keys=tmp_path)
        members = [Member(partition, node) for node, partition in grid.nodes.items()]

        def parameters_of(members, generation, signed):
            return Parameters.of("f", generation, members, 1, 2, signed=signed)

        return agree(grid, members, parameters_of, 1, 5.0, signed=True)

    return go


# Who has a key; who has a roster; whether keys are signed; whether all know all others.
CASES = {
    "rosters": ((0, 1, 2), (0, 1, 2), True, True),
    "one without": ((0, 1, 2), (0, 1), True, False),
    "none": ((0, 1, 2), (), False, False),
    "one without key": ((0, 1), (), False, False),
}


@pytest.mark.parametrize("name", CASES)
def test_only_rosters_of_all_stand_against_any_server(agreed, tmp_path, name, capsys):
    keyed, known, signed, roster = CASES[name]
    found = agreed(keyed, known)
    assert (found.parameters.signed, found.roster) == (signed, roster)
    assert found.parameters.members == (0, 1, 2)
    found.save(tmp_path / "setup")
    assert SetUp.load(tmp_path / "setup") == found
    assert ("sums are without signatures" in capsys.readouterr().out) != signed


def test_a_node_with_a_roster_signs_or_takes_no_part(agreed, capsys):
    with pytest.raises(BractError, match="a secure sum needs at least 3 members, each once; there are 2"):
        agreed((0, 1), (0,))
    assert "client 0 takes no part in sums: this node's policy: members of a sum sign" in capsys.readouterr().out
