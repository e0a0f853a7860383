"""Private runs whose unit is the person: what is drawn, what is charged, and what is said of it."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from bract.errors import BractError
from bract.privacy.accounting import epsilon
from bract.results import console
from bract.results.report import pages
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.settings.steps import sampling_rate
from bract.wire.messages import METRICS, TRAIN
from client_app.client import Client
from client_app.privacy.body import Body
from client_app.privacy.shelf import opened
from client_app.training.gradients import PrivateGradients
from tests.client_app.policy_files import own_nodes
from tests.flower.messages import read_back

PERSON = {
    "privacy.unit": "person",
    "privacy.per-person": 2,
    "privacy.delta": 1e-3,
    "data.user": "user",
    "data.partition": "iid",
    "train.batch": 4,
    "train.steps": 4,
    "rounds": 3,
}


def statement(folder):
    return json.loads((folder.path / "privacy.json").read_text())


@pytest.mark.parametrize("name", ["fedit", "lora-a2", "fedsa", "hetlora"])
def test_a_run_states_what_it_guarantees_to_persons(simulate, data_file, name):
    folder, grid = simulate({**PERSON, "strategy.name": name, "lora.rank": 4})
    found = statement(folder)
    assert found["unit"] == "person"
    assert found["relation"].startswith(
        "one person's part in every draw there or not there, the number of persons being known"
    )
    assert found["per_person"] == 2
    assert any("several names at a client" in line for line in found["not_covered"])
    assert any("number of persons roughly" in line for line in found["released"])
    page = (folder.path / "privacy.md").read_text()
    assert "For any single person, everything that was released" in page
    assert "What is protected: person. Relation: one person's part" in page
    assert len(found["clients"]) == 3
    for client in found["clients"]:
        me = Client(read(grid.run_config), client["partition"], 3)
        persons = len(set(me.shard.train.persons.tolist()))
        assert persons < len(me.shard.train)
        assert client["sample_rate"] == sampling_rate(4, persons) != sampling_rate(4, len(me.shard.train))
        assert client["rounds"] == 3
        assert client["epsilon"] <= 8.0
    with opened(Body(f"file:{data_file}", 1)) as ledger:
        assert {entry.unit for entry in ledger.entries} == {"person"}
        assert found["clients"][1]["epsilon"] == pytest.approx(epsilon([e.use for e in ledger.entries], 1e-3))
    assert folder.rounds()[-1]["accuracy"] is not None
    replies = [read_back(answer)[METRICS] for kind, _, _, answer in grid.log if kind == TRAIN]
    assert len(replies) == 9
    assert not any({"examples", "loss"} & set(reply) for reply in replies)  # exact numbers stay at home


def test_no_draw_has_more_than_may_count_of_anyone_and_many_persons_are_in_it(simulate, monkeypatch):
    drawn, real = [], PrivateGradients.gradient

    def gradient(self, examples, rows):
        drawn.append((len(set(examples.persons[rows].tolist())), Counter(examples.persons[rows].tolist())))
        return real(self, examples, rows)

    monkeypatch.setattr(PrivateGradients, "gradient", gradient)
    simulate({**PERSON, "rounds": 6})
    assert len(drawn) == 6 * 3 * 4
    assert max(max(counts.values(), default=0) for _, counts in drawn) == 2
    persons = [count for count, _ in drawn]
    assert len(set(persons)) > 4  # Poisson
    assert np.mean(persons) == pytest.approx(4, abs=1)  # train.batch counts persons


def test_an_epoch_is_over_persons(simulate):
    folder, grid = simulate({**PERSON, "train.steps": 0, "train.epochs": 2, "rounds": 1})
    for client in statement(folder)["clients"]:
        me = Client(read(grid.run_config), client["partition"], 3)
        assert client["steps"] == 2 * np.ceil(1 / sampling_rate(4, me.records))


def test_no_person_is_at_two_clients_or_trained_on_and_held_out(simulate, data_file):
    _, grid = simulate({**PERSON, "rounds": 1})
    with data_file.open() as file:
        texts_of = Counter(row["user"] for row in csv.DictReader(file))
    sizes = []
    for partition in range(3):
        shard = Client(read(grid.run_config), partition, 3).shard
        for part in (shard.train, shard.holdout):
            sizes += np.bincount(part.persons).tolist()
    assert sorted(sizes) == sorted(texts_of.values())  # everyone once, and whole


def test_the_demo_s_messages_are_each_a_person_s(config):
    me = Client(read(config({"privacy.unit": "person", "data.source": "demo"})), 0, 10)
    assert me.private
    assert me.records == len(me.shard.train) == me.account.records


def test_a_node_that_does_not_know_whose_its_examples_are_trains_nothing(simulate, tmp_path, model_folder):
    values = {**PERSON, "data.source": "node", "data.partition": "auto", "data.labels": "", "rounds": 1}
    words = {"privacy.unit": "example", "privacy.measuring": "noisy", "privacy.exact-metrics": False}
    words["privacy.epsilon"] = 100.0  # the sites' files have texts in common, so they are one body of data here
    folder, _ = simulate(values, node_config=own_nodes(tmp_path, model_folder, **words, **{"data.user": "user"}))
    assert {row["status"] for row in read_rows(folder.path / "clients.jsonl")} == {"merged"}
    with pytest.raises(BractError, match="'person': this node's data do not say whose an example is"):
        simulate({**values, "run.folder": ""}, node_config=own_nodes(tmp_path, model_folder, **words))


def test_pages_and_last_words_name_the_person(simulate):
    folder, _ = simulate({**PERSON, "rounds": 1})
    summary = json.loads((folder.path / "summary.json").read_text())
    assert console.privacy_words(summary).startswith("each person: epsilon ")
    assert console.privacy_words(summary).endswith("at delta 0.001; privacy.md says what that covers")
    assert ", each person" in pages.report(folder.path).read_text()


def test_both_engines_train_the_same(simulate, tmp_path):
    from safetensors.numpy import load_file

    seeded = {**PERSON, "privacy.test-seed": "t", "train.optimizer": "sgd", "rounds": 2, "lora.head": "shared"}
    adapters = []
    for engine in ("fused", "opacus"):
        folder, _ = simulate({**seeded, "train.engine": engine, "run.folder": str(tmp_path / engine)})
        adapters.append(load_file(folder.adapter / "adapter_model.safetensors"))
    one, other = adapters
    assert one.keys() == other.keys()
    assert all(np.allclose(one[name], other[name], atol=1e-4) for name in one)
