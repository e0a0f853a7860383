"""Every method with every other choice, as whole runs of a tiny federation."""

import itertools
import json

import numpy as np
import pytest
from flwr.app import Error, Message

from bract.adapter.initial import draw
from bract.errors import BractError
from bract.results.run_folder import read_rows
from bract.wire.messages import PAYLOAD, get_payload
from bract.wire.payload import HEADER
from server_app.checkpoint import Checkpoint
from tests.flower.messages import stamp

METHODS = {
    "fedit": {},
    "ffa": {},
    "rolora": {},
    "lora-a2": {"federation.ranks": "1.5"},
    "lora-a2, selected": {"strategy.divide": "selected", "strategy.score": "sensitivity"},
    "lora-a2, released": {"strategy.score": "released"},
    "fedsa": {},
    "fedsa, rslora": {"lora.variant": "rslora"},
    "fedsa, vera": {"lora.variant": "vera"},
    "fedsa, passed": {"strategy.local-b": "passed", "lora.head": "auto"},
    "hetlora": {"strategy.gamma": 0.8, "strategy.penalty": 5.0},
    "flexlora": {"federation.ranks": "3"},
}


def lost(partition, reply):
    """Client 1 fails in round 2, whether it is asked for the first time or again."""
    if partition == 1 and reply.has_content() and PAYLOAD in reply.content:
        round_ = HEADER.unpack_from(memoryview(get_payload(reply.content)))[5]
        if round_ == 2:
            return Message(Error(2, "BractError: the disk is full"), reply_to=reply)
    return reply


def fail(partition, reply):
    changed = lost(partition, reply)
    if changed is not reply:
        stamp(changed, reply_to_message_id=reply.metadata.reply_to_message_id)
    return changed


def final(folder):
    return Checkpoint.load(folder.checkpoint)


@pytest.mark.parametrize("codec", ["float32", "float16", "int8"])
@pytest.mark.parametrize(
    ("name", "head"),
    [(name, head) for name in METHODS for head in (["auto"] if "passed" in name else ["frozen", "shared", "local"])],
)
def test_every_method_with_every_other_choice(simulate, tmp_path, name, head, codec):
    """Partial participation, a client that fails, a stop and a resume, each codec, each kind of head."""
    values = {
        "strategy.name": name.partition(",")[0],
        "lora.rank": 4,
        "lora.alpha": 8.0,
        "lora.head": head,
        "wire.codec": codec,
        "federation.fraction": 0.75,
        "rounds": 3,
        **METHODS[name],
    }
    whole, _ = simulate({**values, "run.folder": str(tmp_path / "whole")}, clients=4, tamper=fail)
    simulate({**values, "rounds": 2, "run.folder": str(tmp_path / "cut")}, clients=4, tamper=fail)
    cut, _grid = simulate(
        {**values, "run.folder": str(tmp_path / "cut"), "run.resume": True}, clients=4, tamper=fail, first_node=77
    )
    one, two = final(whole), final(cut)
    assert all((one.parts[part] == two.parts[part]).all() for part in ("A", "B", "head"))
    assert one.memory == two.memory
    rows = whole.rounds()
    assert [(r["round"], r["accuracy"]) for r in rows] == [(r["round"], r["accuracy"]) for r in cut.rounds()]

    # Three of four are sampled in each round; only the lost client is missing.
    clients = read_rows(whole.path / "clients.jsonl")
    assert [sum(row["round"] == r for row in clients) for r in (1, 2, 3)] == [3, 3, 3]
    assert {(r["round"], r["partition"], r["reason"]) for r in clients if r["status"] != "merged"} <= {
        (2, 1, "the disk is full")
    }
    assert [json.loads(line)["round"] for line in (whole.path / "pictures.jsonl").read_text().splitlines()] == [1, 2, 3]
    # Something was learned, and what stays with the clients is untouched on the server.
    start = draw(one.layout, 0, pooled=False)
    changed = {part for part in ("A", "B", "head") if (one.parts[part] != start[part]).any()}
    method = name.partition(",")[0]
    factors = {"ffa": {"B"}, "fedsa": {"A", "B"} if "passed" in name else {"A"}}.get(method, {"A", "B"})
    trained_head = {"head"} if head == "shared" or "passed" in name else set()
    assert changed == factors | trained_head


def test_clients_that_failed_are_in_the_matrix(simulate):
    folder, _ = simulate({"federation.fraction": 0.75, "rounds": 3}, clients=4, tamper=fail)
    rows = read_rows(folder.path / "clients.jsonl")
    assert [(r["round"], r["partition"]) for r in rows if r["status"] == "failed"] == [(2, 1)]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_learns(simulate, name):
    """From the same start, with the same rates: right far more often than before."""
    values = {
        "strategy.name": name.partition(",")[0],
        "rounds": 8,
        "train.epochs": 4,
        "lora.rank": 4,
        "lora.alpha": 8.0,
        "train.lr-ratio": 5.0,
        **METHODS[name],
        "strategy.penalty": 0.01,
    }
    folder, _ = simulate(values)
    rows = folder.rounds()
    assert rows[-1]["accuracy"] > 0.5 > 0.3 > rows[0]["accuracy"], [row["accuracy"] for row in rows]


def parts_in(message_log, rows):
    """Whether one of these rows of numbers stands in any message, and in which."""
    return [
        (kind, partition)
        for kind, partition, request, reply in message_log
        for row in rows
        if row in request or row in reply
    ]


@pytest.mark.parametrize("variant", ["lora", "rslora", "vera"])
def test_local_means_local(simulate, tmp_path, home, variant):
    """Two clients, every message recorded: no byte of a B or a head leaves, and after a restart each has its own."""
    from client_app.data import cache

    values = {"strategy.name": "fedsa", "lora.variant": variant, "rounds": 2, "run.folder": str(tmp_path / "run")}
    _, grid = simulate(values, clients=2)
    for cached in (cache.dataset, cache.shard, cache.shared, cache.model, cache.first_parts):
        cached.cache_clear()  # a restart
    folder, again = simulate({**values, "rounds": 4, "run.resume": True}, clients=2)
    log = grid.log + again.log
    assert {kind for kind, *_ in log} >= {"train", "evaluate"}

    from safetensors.numpy import load_file

    (federation,) = (home / "state").iterdir()
    states = [sorted((federation / str(i)).glob("*.safetensors")) for i in range(2)]
    kept = [[load_file(path) for path in paths] for paths in states]
    layout = final(folder).layout
    for client in kept:
        for state in client:
            assert set(state) == {"B", "head"}
            rows = [r.tobytes() for m in layout.matrices("B", state["B"]) for r in m if r.any()]
            head = state["head"].reshape(-1, 4)
            assert len(rows) == layout.slots
            assert parts_in(log, [*rows, *(r.tobytes() for r in head if r.any())]) == []
    assert not np.array_equal(kept[0][-1]["B"], kept[1][-1]["B"])
    assert not np.array_equal(kept[0][-1]["head"], kept[1][-1]["head"])
    a = final(folder).parts["A"]
    assert parts_in(log, [r.tobytes() for m in layout.matrices("A", a) for r in m])  # what does travel is found

    # The same as one run without a restart: client 2 never began with client 1's.
    whole, _ = simulate({**values, "rounds": 4, "run.folder": str(tmp_path / "whole")}, clients=2)
    assert (final(whole).parts["A"] == a).all()
    (other,) = [f for f in (home / "state").iterdir() if f != federation]
    for i in range(2):
        newest = load_file(sorted((other / str(i)).glob("*.safetensors"))[-1])
        assert (newest["B"] == kept[i][-1]["B"]).all()


def test_a_client_that_was_not_sampled_keeps_its_old_b(simulate, home):
    folder, _ = simulate({"strategy.name": "fedsa", "federation.fraction": 0.5, "rounds": 6}, clients=4)
    rows = read_rows(folder.path / "clients.jsonl")
    (federation,) = (home / "state").iterdir()
    for client in range(4):
        newest = sorted((federation / str(client)).glob("*.safetensors"))
        rounds_joined = [row["round"] for row in rows if row["partition"] == client]
        assert [int(path.stem.removeprefix("round-")) for path in newest] == rounds_joined[-2:]
    last = {client: max((r["round"] for r in rows if r["partition"] == client), default=0) for client in range(4)}
    assert min(last.values()) < 6  # somebody was not sampled at the end
    assert all(row["held_out"] for row in rows)


@pytest.mark.parametrize("name", ["fedsa", "hetlora"])
def test_a_client_that_has_lost_what_it_kept_says_so(simulate, home, name):
    import shutil

    simulate({"strategy.name": name, "rounds": 2, "lora.rank": 4})
    (federation,) = (home / "state").iterdir()
    shutil.rmtree(federation / "1")
    folder, _ = simulate({"strategy.name": name, "rounds": 3, "lora.rank": 4, "run.resume": True})
    rows = [r for r in read_rows(folder.path / "clients.jsonl") if r["round"] == 3]
    assert [r["status"] for r in rows] == ["merged", "failed", "merged"]
    what = {"fedsa": "its own B and head", "hetlora": "its rank"}[name]
    assert rows[1]["reason"].startswith(f"client 1: {what} of round 2 should be in its state folder and is not")


def test_personal_models_are_there_also_where_nothing_is_held_out(simulate, home):
    simulate({"strategy.name": "fedsa", "data.holdout": 0.0})
    (federation,) = (home / "personal").iterdir()
    assert len(list(federation.glob("*/adapter_model.safetensors"))) == 3


def test_what_passes_from_client_to_client_is_in_the_export(simulate, home):
    folder, _ = simulate({"strategy.name": "fedsa", "strategy.local-b": "passed"})
    assert "stays" not in (folder.adapter / "README.md").read_text()
    assert not (home / "personal").exists()


def test_clients_that_pass_on_share_one_deadline(simulate):
    import time

    start = time.monotonic()
    with pytest.raises(BractError, match="round 1: 0 of 6 clients answered"):
        simulate(
            {"strategy.name": "fedsa", "strategy.local-b": "passed", "federation.deadline": 1.0},
            clients=6,
            tamper=lambda p, reply: None if PAYLOAD in reply.content else reply,
        )
    assert time.monotonic() - start < 5


def test_passing_on_refuses_flowers_own_start(config):
    from flwr.serverapp.strategy import Strategy

    from bract.settings.read import read
    from server_app.join import join
    from server_app.rounds import _federation
    from strategies import create
    from strategies.federation import to_arrays
    from tests.harness import InProcessGrid

    run_config = config({"strategy.name": "fedsa", "strategy.local-b": "passed"})
    settings = read(run_config)
    grid = InProcessGrid(2, run_config)
    joined = join(grid, settings.federation)
    strategy = create("fedsa", _federation(settings, joined, "f"))
    assert isinstance(strategy, Strategy)
    with pytest.raises(BractError, match="needs Bract's own rounds"):
        strategy.start(grid, to_arrays(draw(joined.layout, 0, pooled=False)), num_rounds=1)


def test_personal_models_are_written_by_their_clients(simulate, home):
    """Each client's own model loads, and is right as often as the run says."""
    import bract
    from bract.settings.read import read
    from bract.tasks.classification import CLASSIFICATION
    from bract.tasks.task import summed
    from client_app.client import Client

    values = {"strategy.name": "fedsa", "rounds": 3, "train.epochs": 3}
    folder, grid = simulate(values)
    (federation,) = (home / "personal").iterdir()
    assert sorted(path.name for path in federation.iterdir()) == ["0", "1", "2"]
    assert federation.stat().st_mode & 0o077 == 0
    rows = [row for row in read_rows(folder.path / "clients.jsonl") if row["round"] == 3]
    for client in range(3):
        loaded = bract.load(federation / str(client))
        shard = Client(read(grid.run_config), client, 3).shard
        found = CLASSIFICATION.measure(loaded.model, shard.holdout)
        assert CLASSIFICATION.figures(summed(found))["accuracy"] == rows[client]["accuracy"]
        assert "One client's own model" in (federation / str(client) / "README.md").read_text()
    card = (folder.adapter / "README.md").read_text()
    assert "With each client stays: B and the head." in card


def test_accuracy_is_reported_as_mean_spread_and_worst_tenth(simulate):
    from bract.tasks.classification import CLASSIFICATION
    from server_app.rounds import between_clients

    # Clients with 1/2, 0/4, 3/3 right: the pooled accuracy is 4/9, each counts the same here.
    found = between_clients(CLASSIFICATION, [1 / 2, 0 / 4, 3 / 3])
    assert found == {"accuracy_mean": 0.5, "accuracy_std": pytest.approx((1 / 6) ** 0.5), "accuracy_worst": 0.0}
    twenty = between_clients(CLASSIFICATION, [right / 20 for right in range(20)])
    assert twenty["accuracy_worst"] == pytest.approx(0.025)  # the mean of 0/20 and 1/20
    assert set(between_clients(CLASSIFICATION, []).values()) == {None}
    folder, _ = simulate({"strategy.name": "fedsa"})
    last = folder.rounds()[-1]
    assert last["accuracy_worst"] <= last["accuracy_mean"]
    assert json.loads((folder.path / "summary.json").read_text())["accuracy_worst"] == last["accuracy_worst"]


def test_ranks_over_time_are_in_the_pictures(simulate):
    values = {"strategy.name": "hetlora", "lora.rank": 4, "strategy.gamma": 0.8, "strategy.penalty": 20.0, "rounds": 5}
    folder, _ = simulate(values, ranks={0: 2, 1: 4})
    pictures = read_rows(folder.path / "pictures.jsonl")
    ranks = [picture["ranks"] for picture in pictures]
    assert ranks[0] == [2.0, 4.0, 4.0]
    assert all(later <= sooner for a, b in itertools.pairwise(ranks) for sooner, later in zip(a, b, strict=True))
    assert ranks[-1] != ranks[0]
    assert final(folder).memory["ranks"] == {str(i): int(r) for i, r in enumerate(ranks[-1])}
    rows = [r for r in read_rows(folder.path / "clients.jsonl") if r["partition"] == 0]
    assert [r["rank"] for r in rows] == [r[0] for r in ranks]


def test_a_rank_that_changed_between_runs_is_named(simulate):
    simulate({"strategy.name": "hetlora", "lora.rank": 4}, ranks={0: 2, 1: 4})
    with pytest.raises(BractError, match=r"run.resume: ranks is \[3.0, 4.0, null\], the run began with \[2.0, 4.0"):
        simulate({"strategy.name": "hetlora", "lora.rank": 4, "rounds": 3, "run.resume": True}, ranks={0: 3, 1: 4})


def test_a_rank_that_changed_between_rounds_is_named(simulate):
    def tamper(partition, reply):
        if grid_ranks.get(0) == 2 and reply.has_content() and PAYLOAD in reply.content:
            grid_ranks[0] = 3  # the operator changes it after the first training reply
        return reply

    grid_ranks = {0: 2, 1: 4}
    folder, _ = simulate({"strategy.name": "hetlora", "lora.rank": 4}, ranks=grid_ranks, tamper=tamper)
    failed = [r for r in read_rows(folder.path / "clients.jsonl") if r["status"] != "merged"]
    assert [(r["round"], r["partition"]) for r in failed] == [(2, 0)]
    assert failed[0]["reason"].startswith("client 0: rank in its node's configuration is 3, it joined this run with 2")


def test_a_rank_that_the_adapter_does_not_have_ends_the_run_before_it_begins(simulate):
    with pytest.raises(BractError, match="client 1: rank 8 in its node's configuration, the adapter has lora.rank = 4"):
        simulate({"strategy.name": "hetlora", "lora.rank": 4}, ranks={1: 8})
