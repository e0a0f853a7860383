"""A node's own key beside the roster of its policy: a node that its peers would not know does not start."""

import pytest

from bract.cli.main import main
from bract.errors import BractError
from bract.flower import keys
from bract.flower.own_key import path_of, require_on_roster
from tests.harness import tiny_data

OPTION = "--auth-supernode-private-key"


@pytest.fixture
def place(tmp_path):
    """Four nodes' keys, a roster of the first three, and a policy that names it."""
    for i in range(4):
        keys.node(tmp_path / f"node{i}")
    keys.roster(tmp_path / "roster", [tmp_path / f"node{i}.pub" for i in range(3)])
    data = tiny_data(tmp_path / "data.csv", copies=1)
    (tmp_path / "node.toml").write_text(f'[data]\npath = "{data}"\n[peers]\nroster = "{tmp_path / "roster"}"\n')
    return tmp_path


@pytest.fixture(params=["policy", "peers-roster"])
def words(request, place):
    """A node's configuration that leads to the roster, by a policy or by a word."""
    named = {"policy": place / "node.toml", "peers-roster": place / "roster"}[request.param]
    return ["--insecure", "--node-config", f'partition-id=0 {request.param}="{named}"']


def test_a_key_of_the_roster_may_start(place, words):
    for i in range(3):
        require_on_roster([*words, OPTION, str(place / f"node{i}")])


def test_without_a_roster_no_key_is_asked_for(place):
    require_on_roster(["--insecure"])
    (place / "node.toml").write_text('[peers]\nnoise = "full"\n')
    require_on_roster(["--insecure", "--node-config", f'policy="{place / "node.toml"}"'])
    assert path_of(["--insecure"]) is None


def test_a_node_without_a_key_or_with_a_stranger_s_does_not_start(place, words):
    with pytest.raises(BractError, match=f"peers.roster is set, so the node needs its own key.*{OPTION} KEY"):
        require_on_roster(words)
    with pytest.raises(BractError, match=r"this node's own key, .*node3, is not in the roster .*roster of its policy"):
        require_on_roster([*words, OPTION, str(place / "node3")])


def test_a_roster_that_is_gone_or_open_starts_nothing(place, words):
    (place / "roster").chmod(0o666)
    with pytest.raises(BractError, match="may be written by others"):
        require_on_roster([*words, OPTION, str(place / "node0")])
    (place / "roster").unlink()
    with pytest.raises(BractError, match="the roster .* cannot be read"):
        require_on_roster([*words, OPTION, str(place / "node0")])


@pytest.mark.parametrize(
    ("key", "line"), [("", "peers.roster is set"), ("node3", "is not in the roster"), (".", "should be one that")]
)
def test_the_command_says_it_in_one_line(place, capfd, key, line):
    given = [OPTION, str(place / key)] if key not in ("", ".") else []
    if key == ".":
        (place / "broken").write_text("no key")
        (place / "broken").chmod(0o600)
        given = [OPTION, str(place / "broken")]
    assert main(["node", "--insecure", "--policy", str(place / "node.toml"), *given]) == 1
    [found] = capfd.readouterr().err.splitlines()
    assert line in found
