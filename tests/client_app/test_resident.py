"""The node's resident trainer: a real process, asked over its socket by the app as Flower's short processes do."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bract.errors import BractError
from client_app import handover
from server_app.checkpoint import Checkpoint

WORDS = [sys.executable, "-m", "client_app.resident"]


@contextmanager
def trainer(path, **more):
    """It runs for the block, and is gone after it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), **more}
    process = subprocess.Popen([*WORDS, str(path)], env=environment, stdin=subprocess.DEVNULL)
    try:
        wait(path.exists)
        yield process
    finally:
        process.kill()
        process.wait(10)


def wait(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path_factory, monkeypatch):
    path = Path(f"/tmp/bract-test-{os.getpid()}-{time.monotonic_ns()}")  # a socket's path may have 107 characters
    path.mkdir(mode=0o700)
    monkeypatch.setenv("BRACT_HOME", str(tmp_path_factory.mktemp("home")))
    yield path / "worker"
    for left in path.iterdir():
        left.unlink()
    path.rmdir()


def test_a_run_by_the_trainer_gives_the_same_bits(play, place, monkeypatch, tmp_path):
    values = {"strategy.name": "fedsa", "lora.head": "local"}
    folder, _ = play(values)
    here = Checkpoint.load(folder.checkpoint)
    with trainer(place) as process:
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        monkeypatch.setenv(handover.PLACE, str(place))
        monkeypatch.setattr("client_app.answer.answer", None)  # nothing is answered in this process
        folder, _ = play({**values, "run.folder": str(tmp_path / "other")})
        assert process.poll() is None
    there = Checkpoint.load(folder.checkpoint)
    assert all((here.parts[part] == there.parts[part]).all() for part in here.parts)


def test_what_goes_wrong_there_is_said_here_and_it_goes_on(play, place, monkeypatch, config):
    with trainer(place) as process:
        monkeypatch.setenv(handover.PLACE, str(place))
        monkeypatch.setattr("client_app.answer.answer", None)
        for _ in range(2):
            with pytest.raises(BractError, match="there is no file /nowhere/at.csv"):
                play({"data.source": "file:/nowhere/at.csv"})
        for bad in (b"\xff" * 8, handover.LENGTH.pack(1 << 40), handover.LENGTH.pack(5) + b"{}\n\xff\xff", b""):
            with handover.connected(place) as link:
                link.sendall(bad)
                link.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    assert link.recv(1000) == b""
        play({"rounds": 1})
        assert process.poll() is None


def test_without_a_trainer_or_with_another_version_the_app_answers_itself(play, place, monkeypatch, caplog):
    monkeypatch.setenv(handover.PLACE, str(place))
    play({"rounds": 1})
    assert "no resident trainer at" in caplog.text
    with trainer(place):
        monkeypatch.setattr(handover, "code", lambda: "another")
        play({"rounds": 1, "run.resume": False, "run.folder": ""})
    assert "runs another version of the app" in caplog.text


def test_a_trainer_that_dies_over_a_message_is_an_error_of_that_message(place):
    from flwr.app import Context, RecordDict

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        os.environ[handover.PLACE] = str(place)
        try:
            child = os.fork()
            if not child:
                link, _ = listener.accept()
                link.recv(10)
                os._exit(1)
            with pytest.raises(RuntimeError, match="the resident trainer ended over this message"):
                handover.ask("train", RecordDict(), Context(1, 2, {}, RecordDict(), {}))
            os.waitpid(child, 0)
        finally:
            del os.environ[handover.PLACE]


def test_somebody_else_s_socket_is_not_used(place, monkeypatch):
    place.touch()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="somebody else"):
        handover.connected(place)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_parent(place, how):
    code = f"import subprocess; p = subprocess.Popen({[*WORDS, str(place)]}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    wait(place.exists)
    parent.send_signal(how)
    parent.wait(10)
    wait(lambda: not alive(child), 15)


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
