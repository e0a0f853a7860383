"""`bract node`: what it adds to Flower's words, and what it refuses to start with."""

import pytest

from bract.errors import BractError
from bract.flower import supernode


def test_a_policy_stands_in_the_node_s_configuration(tmp_path):
    words = ["--insecure", "--node-config", "partition-id=0 num-partitions=2", "--policy", str(tmp_path / "node.toml")]
    rest, path = supernode.with_policy(words)
    assert path == str(tmp_path / "node.toml")
    assert rest == ["--insecure", "--node-config", f'partition-id=0 num-partitions=2 policy="{path}"']
    assert supernode.with_policy(words[:3]) == (words[:3], "")
    with pytest.raises(BractError, match="a path with a quotation mark"):
        supernode.with_policy(["--policy", '/a"b.toml'])


def test_a_policy_that_is_none_starts_nothing(tmp_path, capfd):
    path = tmp_path / "node.toml"
    path.write_text("[data]\npath = 3\n")
    path.chmod(0o600)
    with pytest.raises(BractError, match="it is not one that this node can obey"):
        supernode.run(["--insecure", "--policy", str(path)])
    assert "data-path = 3" in capfd.readouterr().err


def test_the_trainer_knows_whose_node_it_serves():
    told = supernode.told_to_trainer(["--insecure", "--superlink", "link.example:8000"])
    assert told == {"BRACT_NODE": "1", "BRACT_SUPERLINK": "link.example:8000"}


@pytest.mark.parametrize(
    "words",
    [
        ["--auth-supernode-private-key", "keys/own"],
        ["--auth-supernode-private-key=keys/own"],
        ["--auth-supernode-priv", "keys/own"],
    ],
)
def test_the_trainer_knows_where_its_node_s_own_key_lies(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert supernode.told_to_trainer(["--insecure", *words])["BRACT_NODE_KEY"] == str(tmp_path / "keys" / "own")


def test_a_key_of_another_time_is_nobody_s(monkeypatch):
    monkeypatch.setenv("BRACT_NODE_KEY", "/another")
    monkeypatch.setenv("KEPT", "1")
    found = supernode.environment(supernode.told_to_trainer(["--insecure"]))
    assert "BRACT_NODE_KEY" not in found
    assert (found["KEPT"], found["BRACT_NODE"]) == ("1", "1")
    told = supernode.told_to_trainer(["--auth-supernode-private-key", "/own"])
    assert supernode.environment(told)["BRACT_NODE_KEY"] == "/own"
