"""The app under Flower itself: a SuperLink, Ray's workers, and the command that a user types."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bract.results.run_folder import read_rows
from bract.settings.read import read
from server_app.checkpoint import Checkpoint
from server_app.rounds import run
from tests.harness import InProcessGrid

ROOT = Path(__file__).parents[1]


def bract_run(tmp_path, values, nodes=4):
    """`bract run`, with a home of its own, from a folder that is not the app's."""
    values = {**values, "federation.deadline": 200.0}  # a busy machine takes long to start Ray and torch
    file = tmp_path / "run.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return subprocess.run(
        [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--nodes", str(nodes), "-c", str(file)],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def left_behind(text):
    """Processes that have this text and do not end by themselves.

    Ray's workers take a moment to; its agents, where Ray itself was killed, a minute and a half of asking for it.
    """
    end = time.monotonic() + 180
    while processes_with(text) and time.monotonic() < end:
        time.sleep(0.2)
    return processes_with(text)


def processes_with(text):
    """Processes that still have this text in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            seen = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in seen:
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_a_simulation_gives_the_same_bits_as_this_process(tmp_path, config, home):
    method = {"strategy.name": "fedit", "train.engine": "opacus"}  # the fused one measures products in each process
    values = config({**method, "run.folder": str(tmp_path / "flower")})
    done = bract_run(tmp_path, values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "round 2/2: accuracy" in done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("accuracy ")
    assert str(tmp_path / "flower") in done.stdout
    simulated = Checkpoint.load(tmp_path / "flower" / "checkpoint" / "state.safetensors")

    here = config({**method, "run.folder": str(tmp_path / "here")})
    folder = run(InProcessGrid(4, here), read(here))
    state = Checkpoint.load(folder.checkpoint)
    assert all((state.parts[p] == simulated.parts[p]).all() for p in ("A", "B", "head"))
    one, two = folder.rounds(), read_rows(tmp_path / "flower" / "rounds.jsonl")
    assert [r["accuracy"] for r in one] == [r["accuracy"] for r in two]
    assert [r["upload_bytes"] for r in one] == [r["upload_bytes"] for r in two]

    assert not left_behind(str(tmp_path)), "the command left processes behind"
    assert [path.name for path in (home / "tokens").iterdir()] == ["lock"]  # shared, and gone with the run


def test_a_run_that_fails_says_why_in_one_line_and_returns_1(tmp_path, config):
    # A fault that only the clients can find: the settings themselves are right.
    values = config({"lora.targets": "nope", "run.folder": str(tmp_path / "run")})
    done = bract_run(tmp_path, values, nodes=2)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "the run failed: node" in line
    assert "lora.targets = 'nope': the model has no nope" in line
    assert not left_behind(str(tmp_path)), "the command left processes behind"


@pytest.mark.long
def test_a_simulation_killed_and_resumed_gives_the_same_bits(tmp_path, config):
    import signal

    values = {"rounds": 4, "train.engine": "opacus"}
    whole = config({**values, "run.folder": str(tmp_path / "whole")})
    assert bract_run(tmp_path, whole).returncode == 0
    cut = config({**values, "federation.deadline": 200.0, "run.folder": str(tmp_path / "cut")})
    file = tmp_path / "cut.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in cut.items()))
    process = subprocess.Popen(
        [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--nodes", "4", "-c", str(file)],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while len(read_rows(tmp_path / "cut" / "rounds.jsonl")) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not left_behind(str(tmp_path)), "what a killed command started goes on without it"
    assert bract_run(tmp_path, {**cut, "run.resume": True}).returncode == 0
    one, two = (Checkpoint.load(tmp_path / name / "checkpoint" / "state.safetensors") for name in ("whole", "cut"))
    assert one.round == two.round == 4
    assert all((one.parts[p] == two.parts[p]).all() for p in ("A", "B", "head"))
