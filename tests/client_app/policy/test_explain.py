"""`bract policy`: written, explained, held against a run."""

import pytest

from bract.cli.main import main
from bract.flower import keys
from tests.harness import tiny_data


@pytest.fixture
def policy(tmp_path, capfd):
    data = tiny_data(tmp_path / "notes.csv", copies=3)
    assert main(["policy", "init", str(tmp_path / "node.toml"), "--data", str(data)]) == 0
    told = capfd.readouterr().out
    assert "the columns of" in told
    assert "rows: 48" in told
    return tmp_path / "node.toml"


def test_what_init_writes_is_a_policy_that_check_explains(policy, capfd):
    assert policy.stat().st_mode & 0o077 == 0
    assert main(["policy", "check", str(policy)]) == 0
    told = capfd.readouterr().out
    assert "over the data's life epsilon 11 at delta 1e-05 for each example" in told
    assert "rows: 50" in told  # rounded
    assert "tasks but classify" in told


def test_init_leaves_what_is_there(policy, capfd):
    before = policy.read_text()
    assert main(["policy", "init", str(policy)]) == 1
    assert policy.read_text() == before
    assert "is there already" in capfd.readouterr().err


def test_a_run_is_held_against_it(policy, capfd):
    assert main(["policy", "check", str(policy), "-c", "privacy.epsilon=3"]) == 0
    assert "This run would be taken part in" in capfd.readouterr().out
    assert main(["policy", "check", str(policy), "-c", "privacy.unit=none"]) == 1
    assert "This run would be declined. this node's policy: privacy.unit = 'none'" in capfd.readouterr().out
    policy.write_text(policy.read_text().replace('unit = "example"', 'unit = "none"', 1))
    assert main(["policy", "check", str(policy), "-c", "privacy.unit=none"]) == 0
    assert "nothing bounds what they tell a server" in capfd.readouterr().out


def test_a_wrong_policy_is_one_line(tmp_path, capfd):
    (tmp_path / "node.toml").write_text("[data]\npath = 3\n")
    assert main(["policy", "check", str(tmp_path / "node.toml")]) == 1
    assert capfd.readouterr().err.count("\n") == 1


def test_columns_that_the_file_has_not_are_named(policy, capfd):
    policy.write_text(policy.read_text().replace('text = "text"', 'text = "note"', 1))
    assert main(["policy", "check", str(policy)]) == 1
    assert "has no column note; it has text, label, site, user" in capfd.readouterr().err
    policy.write_text(policy.read_text().replace("notes.csv", "other.csv", 1))
    assert main(["policy", "check", str(policy)]) == 0
    assert "its columns were not looked at" in capfd.readouterr().out


def test_a_run_that_may_not_fit_into_the_life_is_told(policy, capfd):
    assert main(["policy", "check", str(policy), "-c", "privacy.epsilon=9"]) == 0
    assert "Its epsilon of 9 may not fit" in capfd.readouterr().out


def peers(policy, *lines):
    """The policy with these lines in the place of what init writes of peers."""
    head, _, rest = policy.read_text().partition("[peers]")
    policy.write_text(head + "\n".join(("[peers]", *lines, "", "[log]")) + rest.partition("[log]")[2])


def test_what_the_node_takes_its_peers_to_be_is_told(policy, capfd):
    def told():
        assert main(["policy", "check", str(policy)]) == 0
        return capfd.readouterr().out

    first = told()
    assert "its members are whom the server names, and it could invent all but this node" in first
    assert "1 of them or more are taken to help the server, and 2 or more others must be left" in first
    assert "this node adds all of the noise itself" in first
    assert "runs without a secure sum" not in first
    peers(policy, 'noise = "shared"', "colluders = 0", "honest = 4", "require-sum = true")
    second = told()
    assert "0 of them or more are taken to help the server, and 4 or more others must be left" in second
    assert "adds only its share of the noise" in second
    assert "runs without a secure sum" in second


def test_a_roster_is_read_where_it_is_there(policy, tmp_path, capfd):
    for i in range(3):
        keys.node(tmp_path / f"node{i}")
    shown = keys.roster(tmp_path / "roster", [tmp_path / f"node{i}.pub" for i in range(3)])
    peers(policy, f'roster = "{tmp_path / "roster"}"')
    assert main(["policy", "check", str(policy)]) == 0
    told = capfd.readouterr().out
    assert f"those whose keys stand in {tmp_path / 'roster'}; the server can add none" in told
    assert f"The roster has 3 members and the fingerprint {shown}." in told
    assert "adds only its share of the noise" in told
    peers(policy, f'roster = "{tmp_path / "roster"}"', "honest = 3")
    assert main(["policy", "check", str(policy)]) == 1
    assert "has 3 members: with peers-colluders = 1 and peers-honest = 3 no sum has fewer than 4" in (
        capfd.readouterr().err
    )
    peers(policy, f'roster = "{tmp_path / "other"}"')
    assert main(["policy", "check", str(policy)]) == 0
    assert "so its keys were not looked at" in capfd.readouterr().out
    (tmp_path / "other").write_text("no key\n")
    assert main(["policy", "check", str(policy)]) == 1
    assert capfd.readouterr().err.count("\n") == 1
