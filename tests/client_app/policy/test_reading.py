"""A policy from its file and the node's configuration."""

import pytest

from bract.errors import BractError
from bract.privacy.spending import Limit
from client_app.policy import reading
from client_app.policy.policy import Peers, Policy


def written(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return {"policy": str(path)}


def test_without_a_word_there_is_none():
    assert reading.of_node({"partition-id": 0, "num-partitions": 2, "rank": 4}) is None
    assert reading.of_node({"privacy-limit": 6, "privacy-delta": 1e-3}) is None  # a limit alone is a simulation's
    assert reading.limit_of({"privacy-limit": 6}, None) == Limit(6, 1e-5)
    assert reading.limit_of({}, None) is None


def test_a_file_and_words_beside_it(tmp_path):
    config = written(
        tmp_path / "node.toml", '[data]\npath = "/a.csv"\n[privacy]\nepsilon = 3\n[allow]\nlargest-rank = 8\n'
    )
    policy = reading.of_node({**config, "data-text": "note"})
    assert (policy.data.path, policy.data.text, policy.data.label) == ("/a.csv", "note", "label")
    assert policy.limit == Limit(3, 1e-5)
    assert policy.allow.largest_rank == 8
    assert policy.privacy.measuring == "noisy"
    with pytest.raises(BractError, match="privacy-epsilon stands in the node's configuration and in .*; say it once"):
        reading.of_node({**config, "privacy-limit": 5})


def test_words_alone_are_a_policy(tmp_path):
    (tmp_path / "labels.json").write_text('["late", "lost"]')
    policy = reading.of_node({"data-path": "/a.csv", "labels-path": str(tmp_path / "labels.json")})
    assert policy.data.labels == ("late", "lost")
    assert policy.privacy == Policy().privacy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[data]\npath = 'a.csv'\n", "data-path = 'a.csv'.*an absolute path"),
        ("[privacy]\nunit = 'patient'\n", "privacy-unit = 'patient'"),
        ("[privacy]\nepsilon = 'much'\n", "privacy-epsilon = 'much'"),
        ("[privacy]\nepsilom = 1\n", "privacy-epsilom: a policy has no such key"),
        ("[data]\nlabels = [1]\n", "data-labels = 1"),
        ("[peers]\nroster = 'roster'\n", "peers-roster = 'roster'.*an absolute path"),
        ("[peers]\ncolluders = -1\n", "peers-colluders = -1"),
        ("[peers]\nhonest = 1\n", "peers-honest = 1"),
        ("[peers]\nhonest = true\n", "peers-honest = True"),
        ("[peers]\nnoise = 'own'\n", "peers-noise = 'own'"),
        ("[peers]\nrequire-sum = 1\n", "peers-require-sum = 1"),
        ("[peers]\nrequire_sum = true\n", "peers-require_sum: a policy has no such key"),
        ("broken", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(BractError, match=words):
        reading.of_node(written(tmp_path / "node.toml", text))


def test_what_is_said_of_peers(tmp_path):
    text = '[peers]\nroster = "/roster"\ncolluders = 0\nhonest = 4\nrequire-sum = true\n'
    found = reading.of_node({**written(tmp_path / "node.toml", text), "peers-noise": "full"})
    assert found.peers == Peers("/roster", 0, 4, "full", require_sum=True)
    assert Policy().peers == Peers("", 1, 2, "auto", require_sum=False)


@pytest.mark.parametrize(
    ("noise", "roster", "full"),
    [
        ("auto", "", True),
        ("auto", "/roster", False),
        ("shared", "", False),
        ("shared", "/roster", False),
        ("full", "", True),
        ("full", "/roster", True),
    ],
)
def test_whose_noise_a_node_relies_on(noise, roster, full):
    assert Policy(peers=Peers(roster=roster, noise=noise)).full_noise is full


def test_a_policy_that_others_may_write_is_nobody_s_word(tmp_path):
    config = written(tmp_path / "node.toml", "[data]\npath = '/a.csv'\n")
    (tmp_path / "node.toml").chmod(0o666)
    with pytest.raises(BractError, match="chmod go-w"):
        reading.of_node(config)
    with pytest.raises(BractError, match="there is no policy"):
        reading.of_node({"policy": str(tmp_path / "other.toml")})


@pytest.mark.parametrize("rank", [0, -1, 5000, "4", True])
def test_a_rank_that_is_none(rank):
    with pytest.raises(BractError, match="rank="):
        reading.rank({"rank": rank})
