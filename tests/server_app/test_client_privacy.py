"""Runs that protect whole clients, by a server that is trusted."""

import json
from pathlib import Path

import numpy as np
import pytest

from bract.errors import BractError
from bract.privacy.accounting import Use, epsilon
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.wire.messages import EVALUATE, METRICS, TRAIN, get_payload
from bract.wire.payload import unpack
from client_app.privacy.shelf import ledger_path
from server_app.checkpoint import Checkpoint
from server_app.rounds import run
from tests.harness import InProcessGrid, read_back, tiny_data

PRIVATE = {"privacy.unit": "client", "privacy.epsilon": 8.0, "rounds": 3, "train.steps": 2}


def statement(folder):
    return json.loads((folder.path / "privacy.json").read_text())


@pytest.mark.parametrize("name", ["fedit", "ffa", "rolora", "lora-a2", "fedsa", "hetlora"])
def test_every_method_that_adds_updates_protects_clients(simulate, data_file, name):
    folder, grid = simulate({**PRIVATE, "strategy.name": name, "lora.rank": 4})
    found = statement(folder)
    assert found["unit"] == "client"
    assert [c["partition"] for c in found["clients"]] == [0, 1, 2]
    for line in found["clients"]:
        assert (line["sample_rate"], line["steps"], line["rounds"]) == (1.0, 1.0, 3.0)
        again = epsilon([Use(line["sigma"], line["sample_rate"], 3)], 1e-5)
        assert line["epsilon"] == again == found["epsilon_max"] <= 8.0
    assert any("server, which is trusted" in line for line in found["not_covered"])
    page = (folder.path / "privacy.md").read_text()
    assert "For any single client" in page
    assert "The server is trusted: towards it nothing is private" in page
    assert [row["epsilon"] for row in folder.rounds()[1:]] == sorted(row["epsilon"] for row in folder.rounds()[1:])
    assert {row["clients"] for row in folder.rounds()[1:]} == {3}
    for kind, _, _, answer in grid.log:
        if kind == TRAIN:
            assert set(read_back(answer)[METRICS]) == {"steps", "seconds", "busy"}
    assert not ledger_path(f"file:{data_file}", 0).exists()  # no noise protects from the server


def test_a_share_of_the_clients_is_a_poisson_sample_and_is_accounted_as_one(simulate):
    folder, _ = simulate({**PRIVATE, "federation.fraction": 0.4, "rounds": 8, "federation.quorum": 1.0}, clients=5)
    rows = folder.rounds()[1:]
    assert len({row["clients"] for row in rows}) > 1  # (the same number in all eight: 0.0004)
    line = statement(folder)["clients"][0]
    assert line["sample_rate"] == 0.4
    assert line["epsilon"] == epsilon([Use(line["sigma"], 0.4, 8)], 1e-5)
    assert line["epsilon"] < 0.9 * epsilon([Use(line["sigma"], 1.0, 8)], 1e-5)


def test_noise_that_was_drawn_is_not_drawn_again_when_a_run_goes_on(config):
    """Killed after the merge and before its row: whoever saw two results of a round could average them."""
    run_config = config(PRIVATE)

    class StopError(Exception):
        pass

    class Grid(InProcessGrid):
        def push_messages(self, messages):
            messages = list(messages)
            if messages and messages[0].metadata.message_type == EVALUATE and self.trained == 2:
                raise StopError
            self.trained += bool(messages) and messages[0].metadata.message_type == TRAIN
            return super().push_messages(messages)

    grid = Grid(3, run_config)
    grid.trained = 0
    with pytest.raises(StopError):
        run(grid, read(run_config))
    settings = read({**run_config, "run.resume": True})
    pending = Checkpoint.load(Path(settings.run.folder) / "checkpoint" / "pending.safetensors")
    assert pending.round == 2
    grid = InProcessGrid(3, {**run_config, "run.resume": True})
    folder = run(grid, settings)
    assert sum(kind == TRAIN for kind, *_ in grid.log) == 3  # round 3 alone
    second = next(read_back(request) for kind, _, request, _ in grid.log if kind == EVALUATE)
    sent = unpack(pending.layout, get_payload(second), round=2, parts=("B", "head"))
    assert all((vector == pending.parts[part]).all() for part, vector in sent.parts.items())
    assert not folder.pending.exists()
    assert [use[2] for use in statement(folder)["clients"][0]["uses"]] == [3]
    assert [r["round"] for r in read_rows(folder.path / "rounds.jsonl")] == [0, 1, 2, 3]
    assert [r["round"] for r in read_rows(folder.path / "clients.jsonl")] == [1] * 3 + [2] * 3 + [3] * 3
    assert [r["round"] for r in read_rows(folder.path / "pictures.jsonl")] == [1, 2, 3]


def test_more_rounds_than_the_noise_was_set_for_are_refused(simulate, config):
    folder, _ = simulate({**PRIVATE, "rounds": 2})
    more = {**config(PRIVATE), "rounds": 3, "run.resume": True}
    with pytest.raises(BractError, match="privacy.epsilon = 8 is spent after 2 rounds: another would make it"):
        run(InProcessGrid(3, more), read(more))
    assert len(folder.rounds()) == 3


def test_a_seeded_run_is_the_same_again_and_says_that_it_protects_nothing(simulate, config, tmp_path):
    seeded = {**PRIVATE, "privacy.test-seed": "t", "federation.fraction": 0.7}
    states = []
    for name in ("one", "two"):
        folder, _ = simulate({**seeded, "run.folder": str(tmp_path / name)})
        states.append(Checkpoint.load(folder.checkpoint).parts["B"])
    assert (states[0] == states[1]).all()
    assert statement(folder)["epsilon_max"] is None
    assert "This run protects nothing" in (folder.path / "privacy.md").read_text()


def test_noise_is_not_the_run_s_seed_s(simulate, tmp_path):
    states = []
    for name in ("one", "two"):
        folder, _ = simulate({**PRIVATE, "run.folder": str(tmp_path / name)})
        states.append(Checkpoint.load(folder.checkpoint).parts["B"])
    assert np.abs(states[0] - states[1]).max() > 0


def test_an_operator_s_limit_does_not_trust_the_server(simulate):
    folder, _ = simulate({**PRIVATE, "federation.quorum": 0.3}, node_config={1: {"privacy-limit": 100.0}})
    rows = [r for r in read_rows(folder.path / "clients.jsonl") if r["partition"] == 1]
    assert {r["status"] for r in rows} == {"abstained"}
    assert "privacy.unit = client" in rows[0]["reason"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"strategy.name": "flexlora"}, "strategy.name = 'flexlora': merges products"),
        ({"strategy.name": "fedsa", "strategy.local-b": "passed"}, "strategy.local-b = 'passed'"),
        ({"strategy.weights": "examples"}, "weighs all clients the same"),
        ({"strategy.name": "lora-a2", "strategy.divide": "selected"}, "divides by what clients chose"),
        ({"privacy.joins": 3}, "privacy.joins = 3"),
        ({"privacy.clip-groups": "head"}, "privacy.clip-groups"),
    ],
)
def test_what_has_no_valid_guarantee_is_refused(config, values, words):
    with pytest.raises(BractError, match=words):
        read(config({**PRIVATE, **values}))


def test_impossible_targets_say_what_to_change(simulate, tmp_path):
    path = tiny_data(tmp_path / "many.csv", copies=7)  # 112 texts
    values = {"privacy.delta": 0.01, "data.source": f"file:{path}"}
    with pytest.raises(BractError, match="privacy.delta = 0.01: .* clients; set it to 0.001 or less"):
        simulate({**PRIVATE, **values}, clients=100)


def test_a_client_cannot_write_the_server_s_own_count(simulate):
    """What a reply says of privacy is not heard where the server counts."""
    from flwr.app import ConfigRecord

    from bract.wire.messages import PRIVACY

    def lying(partition, reply):
        if partition == 0 and METRICS in reply.content and "steps" in reply.content[METRICS]:
            line = {
                "epsilon": 0.0,
                "sigma": 9.0,
                "sample_rate": 0.1,
                "steps": 1,
                "rounds": 1,
                "limit": None,
                "uses": [],
            }
            reply.content[PRIVACY] = ConfigRecord({"line": json.dumps(line)})
        return reply

    folder, _ = simulate(PRIVATE, tamper=lying)
    found = statement(folder)
    assert {c["rounds"] for c in found["clients"]} == {3}
    assert 7.5 < found["epsilon_max"] <= 8.0


def test_the_statement_is_whole_after_a_kill_behind_the_last_checkpoint(config, monkeypatch):
    """And it is written before anybody is told of a round's result."""
    from server_app.rounds import Rounds

    run_config = config(PRIVATE)
    real, calls = Rounds.state_privacy, []

    class StopError(Exception):
        pass

    def stopping(self, **more):
        real(self, **more)
        calls.append(len(statement(self.folder)["clients"][0]["uses"]))
        if len(calls) == 4:  # behind the loop
            (self.folder.path / "privacy.json").unlink()
            raise StopError

    monkeypatch.setattr(Rounds, "state_privacy", stopping)
    with pytest.raises(StopError):
        run(InProcessGrid(3, run_config), read(run_config))
    monkeypatch.setattr(Rounds, "state_privacy", real)
    folder = run(InProcessGrid(3, run_config), read({**run_config, "run.resume": True}))
    found = statement(folder)
    assert found["clients"][0]["rounds"] == 3
    assert found["epsilon_max"] == folder.rounds()[-1]["epsilon"]


def test_failing_clients_do_not_tell_of_the_sample(simulate):
    """With a quorum that some samples meet and others do not, only those would be released."""
    folder, _ = simulate(
        {**PRIVATE, "federation.fraction": 0.5, "federation.quorum": 1.0, "federation.deadline": 1.0, "rounds": 4},
        clients=4,
        tamper=lambda p, reply: None if p == 0 and METRICS in reply.content else reply,
    )
    assert len(folder.rounds()) == 5


def test_an_accuracy_without_noise_is_not_published_with_the_adapter(simulate):
    folder, _ = simulate(PRIVATE)
    assert "not published" in (folder.adapter / "README.md").read_text()


def test_the_count_stays_small_however_many_rounds(simulate):
    folder, _ = simulate({**PRIVATE, "rounds": 4})
    assert len(statement(folder)["clients"][0]["uses"]) == 1
    assert Checkpoint.load(folder.checkpoint).memory["privacy"] == {}
