"""Whole runs of a tiny federation: real apps, messages as bytes, no sockets."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Error, Message

from bract.adapter.initial import draw
from bract.adapter.layout import Layout
from bract.errors import BractError
from bract.results.run_folder import RunFolder, read_rows, read_settings
from bract.settings.read import read
from bract.tasks import tokens
from bract.tasks.classification import CLASSIFICATION
from bract.wire.messages import EVALUATE, HEAD, JOIN, TRAIN
from bract.wire.payload import HEADER
from client_app.data import cache
from server_app.checkpoint import Checkpoint
from server_app.rounds import run
from strategies import Federation, Member, create
from strategies.federation import to_arrays, to_parts
from tests.flower.messages import stamp
from tests.harness import InProcessGrid

NPY_HEADER = 128  # Flower sends the array in NumPy's own format


def state(folder):
    return Checkpoint.load(folder.checkpoint)


def same(one, two):
    return all((one.parts[p] == two.parts[p]).all() for p in ("A", "B", "head"))


def test_a_run_learns_and_leaves_everything_in_its_folder(simulate):
    folder, _ = simulate({"rounds": 6, "strategy.name": "fedit", "train.epochs": 3})
    rows = folder.rounds()
    assert [row["round"] for row in rows] == list(range(7))
    assert rows[-1]["accuracy"] > 0.9 > 0.6 > rows[0]["accuracy"]
    keys = "round accuracy loss clients failed abstained upload_bytes download_bytes upload_values epsilon seconds"
    assert set(keys.split()) <= set(rows[-1])
    summary = json.loads((folder.path / "summary.json").read_text())
    assert summary["strategy"] == "fedit"
    assert summary["upload_bytes"] == sum(row["upload_bytes"] for row in rows)
    assert {"flwr", "bract", "torch"} <= set(summary["versions"])
    assert read_settings(folder.path).rounds == 6
    for name in ("report.html", "adapter/adapter_config.json", "adapter/README.md", "checkpoint"):
        assert (folder.path / name).exists()
    clients = read_rows(folder.path / "clients.jsonl")
    assert len(clients) == 3 * 6
    assert {row["status"] for row in clients} == {"merged"}
    assert all(0 <= row["accuracy"] <= 1 for row in clients)


@pytest.mark.parametrize(("strategy", "parts"), [("ffa", ("B",)), ("fedit", ("A", "B"))])
@pytest.mark.parametrize("head", ["frozen", "shared", "local"])
def test_bytes_are_what_the_arithmetic_says(simulate, strategy, parts, head):
    folder, grid = simulate({"strategy.name": strategy, "lora.head": head})
    layout = state(folder).layout
    travels = (*parts, "head") if head == "shared" else parts
    values = sum(layout.size(part) for part in travels)
    for row in read_rows(folder.path / "clients.jsonl"):
        assert row["upload_values"] == row["download_values"] == values
        assert row["upload_bytes"] == row["download_bytes"] == 4 * values + HEADER.size + NPY_HEADER
    trained = [(len(request), len(reply)) for kind, _, request, reply in grid.log if kind == TRAIN]
    for request, reply in trained:  # what is counted is what is sent, but for the plan and the report
        assert 0 < request - (4 * values + HEADER.size + NPY_HEADER) < 500
        assert 0 < reply - (4 * values + HEADER.size + NPY_HEADER) < 500


def test_ffa_sends_half_of_fedit_where_modules_are_square(simulate, tmp_path):
    rows = {}
    for strategy in ("ffa", "fedit"):
        folder, _ = simulate({"strategy.name": strategy, "lora.head": "frozen", "run.folder": str(tmp_path / strategy)})
        rows[strategy] = folder.rounds()[-1]
    assert 2 * rows["ffa"]["upload_values"] == rows["fedit"]["upload_values"]


def test_a_frozen_a_never_travels(simulate):
    """Not one row of A stands in any message, in either direction, in the whole run."""
    folder, grid = simulate({"strategy.name": "ffa", "lora.head": "frozen"})
    final = state(folder)
    rows = [row.tobytes() for a in final.layout.matrices("A", final.parts["A"]) for row in a]
    assert len(rows) == final.layout.slots
    for kind, _, request, reply in grid.log:
        assert not any(row in request or row in reply for row in rows), kind
    b = next(b for b in final.layout.matrices("B", final.parts["B"]) if b.any())
    assert b[0].tobytes() in grid.log[-1][2]  # the same search finds the B that does travel


def test_a_local_head_never_travels_and_each_client_keeps_its_own(simulate, home):
    _, grid = simulate({"lora.head": "local", "strategy.name": "fedit", "rounds": 3})
    from safetensors.numpy import load_file

    (federation,) = (home / "state").iterdir()
    heads = [load_file(sorted((federation / str(i)).glob("*"))[-1])["head"] for i in range(3)]
    assert not np.array_equal(heads[0], heads[1])
    for kind, _, request, reply in grid.log:
        for head in heads:
            assert kind in (JOIN, HEAD) or (head[:32].tobytes() not in request + reply)
    for folder in federation.iterdir():
        assert folder.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_the_same_settings_give_the_same_bits_in_any_order_of_replies(simulate, tmp_path):
    results = []
    for i in range(3):
        shuffle = random.Random(i)

        def order(replies, shuffle=shuffle):
            return shuffle.sample(replies, len(replies))

        values = {
            "run.folder": str(tmp_path / f"run{i}"),
            "strategy.name": "fedit",
            "federation.fraction": 0.7,
        }
        folder, _ = simulate(values, clients=3, order=order, first_node=1000 * (i + 1))
        results.append(state(folder))
    assert same(results[0], results[1])
    assert same(results[0], results[2])
    assert results[0].federation != results[1].federation


@pytest.mark.parametrize("codec", ["float16", "int8"])
def test_codecs_save_bytes_and_still_learn(simulate, codec):
    folder, _ = simulate({"wire.codec": codec, "rounds": 6, "strategy.name": "fedit", "train.epochs": 3})
    rows = folder.rounds()
    assert rows[-1]["accuracy"] > 0.8
    share = {"float16": 0.5, "int8": 0.25}[codec]
    assert rows[-1]["upload_bytes"] < 4 * rows[-1]["upload_values"] * (share + 0.15)


def test_it_works_under_flowers_own_start(config):
    """The strategy is a true Flower Strategy: `start` alone gives the same factors as Bract's rounds."""
    run_config = config({"rounds": 3})
    grid = InProcessGrid(3, run_config)
    final = state(run(grid, read(run_config)))
    first = InProcessGrid(3, run_config)
    begin = draw(final.layout, 0, pooled=False)
    members = tuple(Member(partition, node) for node, partition in first.nodes.items())
    strategy = create("ffa", Federation(final.layout, members, "flower", task=CLASSIFICATION, head="shared"))
    result = strategy.start(first, to_arrays(begin), num_rounds=3, timeout=30)
    assert isinstance(result.arrays, ArrayRecord)
    parts = to_parts(result.arrays)
    assert all((parts[p] == final.parts[p]).all() for p in parts)
    assert [result.train_metrics_clientapp[r]["clients"] for r in (1, 2, 3)] == [3, 3, 3]
    assert 0 <= result.evaluate_metrics_clientapp[3]["accuracy"] <= 1


# -- Going on after a stop ------------------------------------------------------------------------

RUNNER = """
import json, sys
import tests.conftest
from tests.harness import InProcessGrid
from bract.settings.read import read
from client_app.data import cache
from server_app.rounds import run
config = json.loads(sys.argv[1])
run(InProcessGrid(3, config), read(config))
"""


@pytest.mark.parametrize(
    ("name", "head", "fraction"),
    [("fedit", "shared", 1.0), ("fedsa", "local", 0.7), ("hetlora", "shared", 0.7), ("lora-a2", "local", 1.0)],
)
def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(config, tmp_path, name, head, fraction):
    values = {"rounds": 8, "strategy.name": name, "lora.head": head, "federation.fraction": fraction}
    values |= {"lora.rank": 4, "strategy.gamma": 0.8, "strategy.penalty": 3.0}
    values["train.engine"] = "opacus"  # the fused one measures which products are faster, in each process anew
    whole = config({**values, "run.folder": str(tmp_path / "whole")})
    run(InProcessGrid(3, whole), read(whole))
    cut = config({**values, "run.folder": str(tmp_path / "cut")})
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, json.dumps(cut)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "BRACT_HOME": os.environ["BRACT_HOME"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rows = tmp_path / "cut" / "rounds.jsonl"
    wanted = random.SystemRandom().randint(1, 4)
    end = time.monotonic() + 90
    while len(read_rows(rows)) <= wanted and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(random.SystemRandom().uniform(0, 0.3))  # anywhere in the next round, not only at its start
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it should have been killed while it ran"
    resumed = {**cut, "run.resume": True}
    folder = run(InProcessGrid(3, resumed), read(resumed))
    assert same(state(folder), Checkpoint.load(tmp_path / "whole" / "checkpoint" / "state.safetensors"))
    left, right = folder.rounds(), read_rows(tmp_path / "whole" / "rounds.jsonl")
    assert [(r["round"], r["accuracy"]) for r in left] == [(r["round"], r["accuracy"]) for r in right]
    assert [r["round"] for r in left] == list(range(9))


def test_a_run_may_be_given_more_rounds(simulate, config, tmp_path):
    whole, _ = simulate({"rounds": 4, "run.folder": str(tmp_path / "whole")})
    simulate({"rounds": 2})
    folder, _ = simulate({"rounds": 4, "run.resume": True})
    assert same(state(folder), state(whole))


def test_resuming_a_finished_run_changes_nothing(simulate):
    folder, _ = simulate()
    before = state(folder)
    again, grid = simulate({"run.resume": True})
    assert same(state(again), before)
    assert not [kind for kind, *_ in grid.log if kind in (TRAIN, EVALUATE)]


# -- Errors ---------------------------------------------------------------------------------------


def test_a_folder_with_another_run_is_not_touched(simulate, config):
    folder, _ = simulate()
    before = (folder.path / "rounds.jsonl").read_text()
    with pytest.raises(BractError, match="holds another run.*run.resume"):
        simulate()
    with pytest.raises(BractError, match="settings differ.*lora.rank was 2 and is 3"):
        simulate({"run.resume": True, "lora.rank": 3})
    assert (Path(config()["run.folder"]) / "rounds.jsonl").read_text() == before


def test_resuming_nothing_is_an_error(simulate):
    with pytest.raises(BractError, match="holds no run to go on with"):
        simulate({"run.resume": True})


def test_two_processes_cannot_write_one_folder(simulate, config):
    folder, _ = simulate()
    held = RunFolder(folder.path)
    with pytest.raises(BractError, match="another process is writing"):
        simulate({"run.resume": True})
    held.release()


def test_a_damaged_checkpoint_is_an_error_not_a_new_start(simulate):
    folder, _ = simulate()
    path = folder.checkpoint
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BractError, match="damaged"):
        simulate({"run.resume": True})


def test_too_few_nodes_by_the_deadline(simulate):
    with pytest.raises(BractError, match=r"federation.nodes = 5: 3 joined within federation.deadline = 1"):
        simulate({"federation.nodes": 5, "federation.deadline": 1.0})


def _card(partition, reply, change):
    from bract.wire.messages import REPORT

    content = reply.content
    if REPORT in content and "card" in content[REPORT]:
        card = json.loads(content[REPORT]["card"])
        content[REPORT]["card"] = json.dumps({**card, **change})
    return reply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"base": "0123"},
            r'client 1 \(node 1007\) has another base model: "0123", the others have "[0-9a-f]+"',
        ),
        (
            {"labels": ["x", "y", "z", "w"]},
            r'client 1 .* another list of labels: \["x", .*\], the others have \["help"',
        ),
        ({"version": "0.0"}, "another Bract version"),
        (
            {"layout": {"variant": "lora", "rank": 3, "modules": [["q", 1, 1]], "head": []}},
            "another adapter layout: .*the others have",
        ),
        ({"descriptions": "other"}, "another set of label descriptions"),
        ({"partitions": 4}, "another num-partitions: 4, the others have 3"),
        ({"partition": 3}, "node 1007 sent a bad card: partition-id 3 of 3"),
        ({"partition": float("inf")}, r"node 1007 sent a card that cannot be read \(OverflowError\)"),
        ({"labels": None}, r"card that cannot be read \(TypeError\)"),
        ({"layout": {}}, "bad card: not an adapter layout"),
        ({"rank": -1}, "bad card: its rank is out of bounds"),
        ({"outputs": 10**15, "labels": []}, "bad card: the size of its head is out of bounds"),
        ({"outputs": 5}, "bad card: the size of its head is out of bounds, or not that of its labels"),
        ({"rank": []}, r"card that cannot be read \(TypeError\)"),
        ({"partition": 0}, r"nodes 1000 and 1007 both have partition-id=0"),
    ],
)
def test_clients_that_disagree_are_named_before_any_training(config, change, words):
    def tamper(partition, reply):
        return _card(partition, reply, change) if partition == 1 else reply

    run_config = config()
    grid = InProcessGrid(3, run_config, tamper=tamper)
    with pytest.raises(BractError, match=words):
        run(grid, read(run_config))
    assert {kind for kind, *_ in grid.log} == {JOIN}
    assert not Path(run_config["run.folder"]).exists()  # it leaves nothing that the next run would trip over


def test_a_client_that_raises_is_named_with_its_own_words(simulate):
    with pytest.raises(BractError, match=r"node 1000 cannot take part: data.text = 'body': .* it has text"):
        simulate({"data.text": "body"})
    # The run that failed left nothing behind that the next one, in the same folder, would trip over.
    with pytest.raises(BractError, match=r"cannot take part: lora.targets = 'nope': the model has no nope"):
        simulate({"lora.targets": "nope"})


def test_a_lost_client_is_named_and_the_run_goes_on(simulate):
    def tamper(partition, reply):
        lost = partition == 2 and reply.metadata.message_type == TRAIN
        return None if lost else reply

    folder, _ = simulate({"federation.deadline": 2.0}, tamper=tamper)
    rows = read_rows(folder.path / "clients.jsonl")
    assert {(r["partition"], r["status"], r["reason"]) for r in rows if r["status"] != "merged"} == {
        (2, "failed", "no reply by the deadline")
    }
    assert [row["failed"] for row in folder.rounds()] == [0, 1, 1]


def test_a_worker_that_died_ends_the_run_at_once(simulate):
    def tamper(partition, reply):
        if reply.metadata.message_type != TRAIN:
            return reply
        dead = Message(Error(code=0, reason="ActorDiedError"), reply_to=reply)
        return stamp(dead, reply_to_message_id=reply.metadata.reply_to_message_id)

    with pytest.raises(BractError, match="a worker process died.*ActorDiedError"):
        simulate(tamper=tamper)


def test_training_that_diverges_is_refused_at_the_client(simulate):
    with pytest.raises(BractError, match=r"no longer finite; try a smaller train.lr"):
        simulate({"train.lr": 1e30, "train.optimizer": "sgd"})


def test_a_client_without_data_abstains(simulate, tmp_path):
    path = tmp_path / "d.csv"
    lines = ["text,label,site", *(f"my card is lost {i},{'lost' if i % 2 else 'late'},a" for i in range(20))]
    path.write_text("\n".join([*lines, "help me,lost,b"]) + "\n")
    folder, _ = simulate(
        {
            "data.source": f"file:{path}",
            "data.partition": "dirichlet:0.01",
            "seed": 3,
            "federation.quorum": 0.1,
        },
        clients=4,
    )
    rows = read_rows(folder.path / "clients.jsonl")
    abstained = [r for r in rows if r["status"] == "abstained"]
    assert abstained
    assert {r["reason"] for r in abstained} == {"it has no examples to train on"}


def test_a_server_side_test_set_is_measured(simulate, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("text,label\nmy card is lost,lost\ni need help,help\n")
    folder, _ = simulate({"data.test": str(test), "rounds": 1})
    assert all(row["test_accuracy"] in (0.0, 0.5, 1.0) for row in folder.rounds())


def test_a_test_label_that_training_never_saw_ends_the_run_before_it_begins(simulate, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("text,label\nmy card is lost,lost\nwho are you,who\n")
    with pytest.raises(BractError, match="data.test: .*test.csv has labels that training never saw: who"):
        simulate({"data.test": str(test)})


def test_layouts_in_a_checkpoint_are_checked(tmp_path):
    from bract.adapter.layout import Module

    layout = Layout((Module("q", 2, 2),), 1)
    parts = {"A": np.ones(2, np.float32), "B": np.zeros(2, np.float32)}
    saved = Checkpoint(3, "abc", layout, parts, {"clients": [0, 1], "labels": ["a"]})
    saved.save(tmp_path / "checkpoint" / "state.safetensors")
    again = Checkpoint.load(tmp_path / "checkpoint" / "state.safetensors")
    assert (again.round, again.federation, again.layout) == (3, "abc", layout)
    assert again.parts["A"].tolist() == [1, 1]


def test_a_run_does_not_go_on_with_others(simulate, tmp_path):
    simulate()
    with pytest.raises(BractError, match=r"run.resume: partitions is 5, the run began with 3"):
        simulate({"run.resume": True, "rounds": 3}, clients=5)
    with pytest.raises(BractError, match=r"rounds = 1: the run is at round 2 already"):
        simulate({"run.resume": True, "rounds": 1})


def test_a_run_does_not_go_on_with_other_labels(simulate, data_file, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text(data_file.read_text())
    simulate({"data.source": f"file:{own}"})
    own.write_text(data_file.read_text().replace(",help,", ",zzz,"))
    cache.dataset.cache_clear()  # a later run has workers of its own
    with pytest.raises(BractError, match=r'run.resume: labels is \["late", .*"zzz"\], the run began with \["help"'):
        simulate({"data.source": f"file:{own}", "run.resume": True, "rounds": 3})


def test_a_round_in_which_all_sampled_abstain_leaves_the_factors_and_goes_on(simulate, tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["text,label", *(f"my card {i},{'lost' if i % 2 else 'late'}" for i in range(20))]))
    values = {
        "data.source": f"file:{path}",
        "data.partition": "dirichlet:0.01",
        "federation.fraction": 0.25,
        "rounds": 8,
    }
    folder, _ = simulate(values, clients=4)
    rows = folder.rounds()
    assert any(row["abstained"] == 1 and row["clients"] == 0 for row in rows)
    assert rows[-1]["round"] == 8


def test_a_silent_node_does_not_hold_up_those_that_are_enough(simulate):
    def tamper(partition, reply):
        return None if partition == 2 and reply.metadata.message_type == JOIN else reply

    start = time.monotonic()
    simulate({"federation.nodes": 2}, tamper=tamper)
    assert time.monotonic() - start < 20


def test_without_a_number_those_that_are_there_at_the_deadline_take_part(simulate):
    def tamper(partition, reply):
        if partition != 2 or reply.metadata.message_type != JOIN:
            return reply
        lost = Message(Error(code=5, reason="Node unavailable"), reply_to=reply)
        return stamp(lost, reply_to_message_id=reply.metadata.reply_to_message_id)

    folder, _ = simulate({"federation.deadline": 2.0}, tamper=tamper)
    assert folder.rounds()[-1]["clients"] == 2


def test_the_workers_caches_survive_clients_and_rounds(simulate, monkeypatch):
    """Base model, tokenizer and every shard are loaded once, whatever the number of local rounds."""
    folder, _ = simulate({"rounds": 4, "model.pooling": "mean", "lora.head-init": "labels"})
    assert len(read_rows(folder.path / "clients.jsonl")) == 12
    assert cache.model.cache_info().misses == 1
    assert cache.dataset.cache_info().misses == 1
    assert cache.shard.cache_info().misses == 3
    assert cache.first_parts.cache_info().misses == 1
    assert tokens.tokenizer.cache_info().currsize <= 2


def test_a_label_column_that_holds_no_labels_never_leaves_the_device(simulate):
    with pytest.raises(BractError, match="data.label = 'text': .* look like no labels"):
        simulate({"data.label": "text"})


def test_more_tokens_than_the_model_reads_are_refused_at_the_start(simulate):
    with pytest.raises(BractError, match="data.max-length = 100: the model has 64 positions"):
        simulate({"data.max-length": 100})
