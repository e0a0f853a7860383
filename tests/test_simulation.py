"""Simulation at size, and with a worker that dies: real `bract run`s, each some minutes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import psutil
import pytest

from bract.results.run_folder import read_rows
from server_app.checkpoint import Checkpoint
from tests.harness import TEXTS
from tests.test_flower import ROOT, left_behind

GIGABYTE = 1 << 30


@contextmanager
def begun(tmp_path, values, nodes):
    """`bract run` in the background; it and what it started end with the block."""
    file = tmp_path / f"{time.monotonic_ns()}.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    process = subprocess.Popen(
        [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--nodes", str(nodes), "-c", str(file)],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def tree(process):
    """All processes under one, Ray's too, which are not its children."""
    with suppress(psutil.NoSuchProcess):
        yield from psutil.Process(process.pid).children(recursive=True)


def memory(process):
    """Bytes of all of them, shared pages counted once."""
    total = 0
    for one in tree(process):
        with suppress(psutil.Error):
            total += one.memory_full_info().pss
    return total


@pytest.mark.long
def test_a_thousand_clients_with_a_hundred_a_round(tmp_path, config):
    lines = ["text,label,site"]
    for site in range(1000):
        lines += [f"{text},{label},s{site}" for label, texts in TEXTS.items() for text in texts[:2]]
    (tmp_path / "many.csv").write_text("\n".join(lines) + "\n")
    values = config(
        {
            "data.source": f"file:{tmp_path / 'many.csv'}",
            "data.partition": "natural:site",
            "rounds": 5,
            "federation.fraction": 0.1,
            "federation.deadline": 300.0,
            "strategy.name": "ffa",
            "train.steps": 2,
        }
    )
    seen = []
    with begun(tmp_path, values, 1000) as process:
        watch = threading.Event()

        def watching():
            while not watch.wait(2):
                seen.append(memory(process))

        thread = threading.Thread(target=watching)
        thread.start()
        out, err = process.communicate(timeout=900)
        watch.set()
        thread.join()
    assert process.returncode == 0, out + err
    rows = read_rows(tmp_path / "run" / "rounds.jsonl")
    assert [row["clients"] for row in rows[1:]] == [100] * 5
    assert len({row["partition"] for row in read_rows(tmp_path / "run" / "clients.jsonl")}) > 300
    print(f"seconds by round: {[row['seconds'] for row in rows]}; at most {max(seen) / GIGABYTE:.2f} GiB")
    half = len(seen) // 2
    assert max(seen) < 4 * GIGABYTE
    assert max(seen[half:]) < 1.15 * max(seen[:half])  # it does not grow with the rounds
    assert not left_behind(str(tmp_path))


@pytest.mark.long
def test_a_worker_that_dies_is_noticed_at_once_and_the_run_goes_on_where_it_was(tmp_path, config):
    common = {"federation.deadline": 200.0, "train.steps": 400, "rounds": 3}
    whole, cut = (
        config({**common, "run.folder": str(tmp_path / "whole")}),
        config({**common, "run.folder": str(tmp_path / "cut")}),
    )
    with begun(tmp_path, whole, 4) as process:
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, out + err
    with begun(tmp_path, cut, 4) as process:
        end = time.monotonic() + 200
        while len(read_rows(tmp_path / "cut" / "rounds.jsonl")) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        (worker, *_) = [one for one in tree(process) if "ClientAppActor" in " ".join(one.cmdline())]
        worker.send_signal(signal.SIGKILL)
        start = time.monotonic()
        _, err = process.communicate(timeout=100)
        print(f"noticed and ended after {time.monotonic() - start:.1f} seconds")
        assert process.returncode == 1
        assert "a worker process died" in err
        assert time.monotonic() - start < 60
    with begun(tmp_path, {**cut, "run.resume": True}, 4) as process:
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, out + err
    one, two = (Checkpoint.load(tmp_path / name / "checkpoint" / "state.safetensors") for name in ("whole", "cut"))
    assert one.round == two.round == 3
    assert all((one.parts[p] == two.parts[p]).all() for p in ("A", "B", "head"))
    assert not left_behind(str(tmp_path))
