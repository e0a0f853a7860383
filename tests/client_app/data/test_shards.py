"""Tokenised shards that the workers of a machine share."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bract.files import home
from bract.models import base_model
from bract.settings.read import read
from client_app.data import cache, shards
from server_app.checkpoint import Checkpoint
from tests.harness import settings_of, tiny_data

CLIENTS, TASK = 3, "classify"


@pytest.fixture
def asked(model_folder, data_file, monkeypatch):
    """What a worker of a simulation asks with, of a run's number."""
    monkeypatch.setattr(cache, "simulated", lambda: True)
    values = {"data.source": f"file:{data_file}", "model.name": str(model_folder), "data.holdout": 0.25}
    settings = read(settings_of(values))
    place = base_model.locate(settings.model.name)
    return lambda run=7, data=settings.data: (data, settings.seed, TASK, CLIENTS, place, run)


def anew(*question):
    """As a worker that has just begun."""
    for cached in (cache.dataset, cache.partition, cache.shared):
        cached.cache_clear()
    return cache.shared(*question)


def files():
    return sorted((home() / "tokens").glob("*.safetensors"))


def same(one, other):
    return len(one) == len(other) and all((a == b).all() for a, b in zip(one, other, strict=True))


def test_every_client_has_what_it_would_have_by_itself(asked):
    found = anew(*asked())
    data, seed, task, clients, place, _ = asked()
    assert found.outputs == cache.dataset(data, seed, task)[1]
    for client, shard in enumerate(found.shards):
        wanted = cache.tokenised(data, seed, task, clients, client, place)
        for mine, its in ((shard.train, wanted.train), (shard.holdout, wanted.holdout)):
            assert len(mine)
            assert same(mine.tokens, its.tokens)
            assert (mine.targets == its.targets).all()
            assert same([mine.tokens[-1]], [its.tokens[len(its) - 1]])
            with pytest.raises(IndexError):
                mine.tokens[len(mine)]


def test_a_second_worker_reads_no_text(asked, monkeypatch):
    first = anew(*asked())
    assert cache.dataset.cache_info().currsize == 0  # nor does the first keep them
    monkeypatch.setattr(cache, "load", lambda *_: pytest.fail("it read the texts"))
    again = anew(*asked())
    assert again.outputs == first.outputs
    assert all(same(a.train.tokens, b.train.tokens) for a, b in zip(first.shards, again.shards, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tokens_are_mapped_and_are_no_worker_s_own(asked):
    found = anew(*asked())
    (file,) = files()
    address = found.shards[0].train.tokens[0].__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, place = line.split()
        start, end = (int(x, 16) for x in span.split("-"))
        if start <= address < end:
            assert place == str(file)
            return
    pytest.fail("the address is nowhere")


def test_files_are_their_owner_s_alone_and_few(asked):
    for run in range(shards.KEPT + 2):
        anew(*asked(run))
    assert len(files()) == shards.KEPT
    assert files()[-1].name.startswith(f"{shards.KEPT + 1}-")
    assert not [path for path in files() if path.name.startswith(("0-", "1-"))]  # the oldest went
    assert {stat.S_IMODE(path.stat().st_mode) for path in files()} == {0o600}
    assert stat.S_IMODE((home() / "tokens").stat().st_mode) == 0o700


def test_other_data_or_a_broken_file_is_made_anew(asked, tmp_path):
    path = tiny_data(tmp_path / "own.csv", copies=3)
    data = replace(asked()[0], source=f"file:{path}")
    before = anew(*asked(data=data))
    tiny_data(path, copies=5)
    after = anew(*asked(data=data))
    assert sum(len(s.train) for s in after.shards) > sum(len(s.train) for s in before.shards)
    assert len(files()) == 2
    for file in files():
        file.write_bytes(file.read_bytes()[:-8])
    again = anew(*asked(data=data))
    assert all(same(a.train.tokens, b.train.tokens) for a, b in zip(after.shards, again.shards, strict=True))


@pytest.mark.parametrize(
    "broken",
    [
        {"ends": lambda v: v[:-1]},
        {"ends": lambda v: v + 1},
        {"ends": lambda v: v[::-1].copy()},
        {"counts": lambda v: v[:-1]},
        {"counts": lambda v: -v},
        {"targets": lambda v: v[1:]},
        {"tokens": lambda v: v[1:]},
        {"outputs": "{"},
        {"outputs": "3"},
        {"tokens": None},
        {},
    ],
)
def test_a_file_that_does_not_hold_together_is_none(asked, broken):
    anew(*asked())
    (path,) = files()
    with safe_open(path, framework="np") as file:
        told, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, change in broken.items():
        if name in told:
            told[name] = change
        elif change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name])
    save_file(arrays, path, metadata=told if broken else None)
    assert shards.read(path, CLIENTS) is None
    assert anew(*asked()) is not None


def test_what_a_killed_writer_left_is_swept_away(asked):
    anew(*asked(1))
    left = home() / "tokens" / ".1-a.safetensors.xyz.tmp"
    left.write_text("texts")
    anew(*asked(1))
    assert left.exists()  # nobody wrote, so there may be one who does
    anew(*asked(2))
    assert not left.exists()


def test_without_a_place_to_write_each_worker_keeps_what_it_plays(asked, simulate, caplog):
    home().write_text("no folder")
    assert anew(*asked()) is None
    assert "workers share no tokenised texts" in caplog.text
    home().unlink()
    (home() / "tokens").mkdir(parents=True)
    (home() / "tokens" / "lock").mkdir()
    simulate()
    assert not files()


def test_two_workers_at_once_make_one_file(asked, tmp_path):
    """The second waits for the first, and reads no text."""
    data, seed, task, clients, place, run = asked()
    code = (
        "from client_app.data import cache; from bract.settings.schema import DataSettings;"
        "real, read = cache.load, [];"
        "cache.load = lambda *told: read.append(told) or real(*told); cache.simulated = lambda: True;"
        f"found = cache.shared({data!r}, {seed}, {task!r}, {clients}, {place!r}, {run});"
        "print(len(read), sum(len(s.train) for s in found.shards))"
    )
    environment = {**os.environ, "BRACT_HOME": str(home())}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, env=environment, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[0].split() for process in running]
    assert sorted(misses for misses, _ in told) == ["0", "1"]
    assert len({count for _, count in told}) == 1
    assert len(files()) == 1


def test_a_run_on_shared_texts_is_the_same_to_the_bit(asked, simulate, tmp_path):
    one, _ = simulate({"run.folder": str(tmp_path / "one")})
    assert len(files()) == 1
    cache.simulated = lambda: False  # the fixture puts it back
    cache.shared.cache_clear()
    two, _ = simulate({"run.folder": str(tmp_path / "two")})
    states = [Checkpoint.load(folder.checkpoint).parts for folder in (one, two)]
    assert states[0].keys() == states[1].keys()
    assert all((vector == states[1][part]).all() for part, vector in states[0].items())


def test_outside_a_simulation_nothing_is_written(simulate):
    simulate({"rounds": 1})
    assert not (home() / "tokens").exists()


def test_what_a_node_holds_itself_is_never_written(asked, simulate, sites):
    simulate({"data.source": "node", "data.labels": "", "rounds": 1}, node_config=sites())
    assert not (home() / "tokens").exists()
