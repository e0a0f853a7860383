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

import psutil
import pytest

from bract import supernode
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_everything_ends_with_bract_node_however_it_ends(tmp_path, how):
    """A SuperNode that has started a process of its own, as Flower's does; Linux alone ends what a kill leaves."""
    fake = tmp_path / "flower-supernode"
    fake.write_text("#!/bin/sh\nsleep 1000 & echo $! > child\nwait\n")
    fake.chmod(0o700)
    code = f"from bract import supernode; supernode.tool = lambda _: {str(fake)!r}; raise SystemExit(supernode.run([]))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    try:
        wait(lambda: len(psutil.Process(command.pid).children()) == 2 and (tmp_path / "child").exists())
        under = everything = psutil.Process(command.pid).children(recursive=True)
        time.sleep(1)
        command.send_signal(how)
        assert command.wait(40) == (-how if how == signal.SIGKILL else 0)
        direct = (
            under if how != signal.SIGKILL else [p for p in under if "sleep" not in p.name()]
        )  # Flower watches those
        assert not psutil.wait_procs(direct, 15)[1]
    finally:
        command.kill()
        for left in everything:
            with suppress(psutil.NoSuchProcess):
                left.kill()


def test_bract_node_ends_with_the_supernode_and_has_its_exit_code(tmp_path, monkeypatch):
    fake = tmp_path / "flower-supernode"
    fake.write_text("#!/bin/sh\nexit 7\n")
    fake.chmod(0o700)
    monkeypatch.setattr(supernode, "tool", lambda _: fake)
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
    others = set(psutil.Process().children())  # multiprocessing's own, if a test before this one needed it
    try:
        assert supernode.run([]) == 7
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    assert not set(psutil.Process().children()) - others
