"""The node's resident trainer: a real process that takes tasks from Flower's own Runtime API, without a SuperLink."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from flwr.app import Context, Message, RecordDict

from bract.cli.main import main
from bract.errors import BractError
from bract.flower import polling, supernode
from client_app.flower.trainer import STOPPED
from server_app.checkpoint import Checkpoint
from tests.flower.node import AnsweredError, Node

ROOT = Path(__file__).parents[3]


@pytest.fixture
def node(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("BRACT_HOME", str(tmp_path_factory.mktemp("home")))
    with Node() as one:
        one.place = tmp_path_factory.mktemp("place")
        (one.place / "secret").write_bytes(one.secret)
        yield one


@contextmanager
def trainer(node):
    """It runs for the block, and is gone after it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "client_app.flower.trainer", node.address, str(node.place / "secret")]
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def wait(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_by_the_trainer_gives_the_same_bits_and_runs_no_code_of_the_server(simulate, node, monkeypatch, tmp_path):
    # The fused engine measures which products are faster, in each process anew, and the bits are those of its choice.
    values = {"strategy.name": "fedsa", "lora.head": "local", "train.engine": "opacus"}
    folder, _ = simulate(values)
    here = Checkpoint.load(folder.checkpoint)
    with trainer(node) as process:
        monkeypatch.setattr("tests.harness.client_app", node.answer)  # nothing is answered in this process
        folder, _ = simulate({**values, "run.folder": str(tmp_path / "other")})
        assert process.poll() is None
    there = Checkpoint.load(folder.checkpoint)
    assert all((here.parts[part] == there.parts[part]).all() for part in here.parts)
    assert node.taken.count("train") == 2 * 3


def test_what_goes_wrong_there_is_said_by_the_reply_and_it_goes_on(simulate, node, monkeypatch):
    with trainer(node) as process:
        monkeypatch.setattr("tests.harness.client_app", node.answer)
        for _ in range(2):
            with pytest.raises(BractError, match="there is no file /nowhere/at.csv"):
                simulate({"data.source": "file:/nowhere/at.csv"})
        with pytest.raises(AnsweredError, match="No query function registered with name 'other'"):
            node.answer(message("query.other"), context())
        simulate({"rounds": 1})
        assert process.poll() is None


def slow(folder):
    """Data that takes seconds to read."""
    path = folder / "long.csv"
    path.write_text("text,label\n" + "my card is lost,lost\nit is late,late\n" * 500_000)
    return path


def message(kind):
    return Message(RecordDict(), dst_node_id=1, message_type=kind)


def context():
    return Context(1, 1, {}, RecordDict(), {})


def test_without_the_secret_no_task_is_given_out(node):
    node.begin(message("query.join"), context())
    (node.place / "secret").write_bytes(b"another")
    with trainer(node) as process:
        assert process.wait(60) != 0
    assert [task.status.status for task in node.state.get_tasks()] == ["pending"]


def test_a_trainer_that_dies_over_a_message_is_told_of_by_the_next(node, config, monkeypatch):
    values = config({"data.source": f"file:{slow(node.place)}"})
    with trainer(node) as process:
        asked = node.begin(
            message("query.join"), Context(1, 1, {"partition-id": 0, "num-partitions": 1}, RecordDict(), values)
        )
        wait((node.place / "task").exists)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    start = time.monotonic()
    with trainer(node) as process:
        reply = node.reply(asked)
        assert time.monotonic() - start < 30  # Flower's own patience with a silent task is a minute
        assert "ended over this message" in reply.error.reason
        wait(lambda: not (node.place / "task").exists())
        assert process.poll() is None


def test_a_task_that_flower_has_given_up_is_not_trained_on(node, config):
    values = config({"data.source": f"file:{slow(node.place)}"})
    with trainer(node) as process:
        node.begin(message("query.join"), Context(1, 1, {"partition-id": 0, "num-partitions": 1}, RecordDict(), values))
        wait((node.place / "task").exists)
        process.send_signal(signal.SIGINT)  # what Flower's heartbeat does to its own process
        assert process.wait(10) == STOPPED
    assert not (node.place / "task").exists()


def test_an_error_that_nobody_waits_for_any_more_keeps_no_trainer_from_starting(node, config):
    values = config({"data.source": f"file:{slow(node.place)}"})
    with trainer(node) as process:
        node.begin(message("query.join"), Context(1, 1, {"partition-id": 0, "num-partitions": 1}, RecordDict(), values))
        wait((node.place / "task").exists)
        process.kill()
        process.wait(10)
    (task,) = node.state.get_tasks()
    node.state.finish_task(task.task_id, sub_status="failed", details="")  # its token is worth nothing now
    with trainer(node) as process, suppress(subprocess.TimeoutExpired):
        assert process.wait(15) == STOPPED  # Flower's client ends a process whose token is refused
    with trainer(node) as process:
        assert node.answer(
            message("query.join"), Context(1, 1, {"partition-id": 0, "num-partitions": 1}, RecordDict(), config())
        ).content
        assert process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_everything_ends_with_bract_node_however_it_ends(tmp_path, how):
    """A SuperNode that has started a process of its own; Linux alone ends what a kill leaves."""
    fake = tmp_path / "flower-supernode"
    fake.write_text(
        "import pathlib, subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\nchild.wait()\n"
    )
    code = (
        f"from bract.flower import supernode as node; node.tool = lambda _: {str(fake)!r}; "
        "raise SystemExit(node.run([]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    try:
        wait(lambda: len(psutil.Process(command.pid).children()) == 2 and (tmp_path / "child").exists())
        under = everything = psutil.Process(command.pid).children(recursive=True)
        time.sleep(1)
        command.send_signal(how)
        assert command.wait(40) == (-how if how == signal.SIGKILL else 0)
        # A process that the SuperNode started is the SuperNode's to end, if this one is killed.
        direct = under if how != signal.SIGKILL else [p for p in under if "sleep" not in p.name()]
        assert not psutil.wait_procs(direct, 15)[1]
    finally:
        command.kill()
        for left in everything:
            with suppress(psutil.NoSuchProcess):
                left.kill()


def test_bract_node_ends_with_the_supernode_and_has_its_exit_code(tmp_path, monkeypatch):
    fake = tmp_path / "flower-supernode"
    fake.write_text("import pathlib, sys; pathlib.Path('told').write_text(' '.join(sys.argv[1:])); sys.exit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(supernode, "tool", lambda _: fake)
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
    others = set(psutil.Process().children())  # multiprocessing's own, if a test before this one needed it
    try:
        assert supernode.run(["--insecure", "--node-config", "partition-id=0"]) == 7
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    assert not set(psutil.Process().children()) - others
    told = (tmp_path / "told").read_text()
    assert told.startswith("--insecure --node-config partition-id=0 --host 127.0.0.1 --port ")
    assert "--isolation process --superexec-auth-secret-file " in told


def test_a_node_asks_sooner_while_a_run_goes_on_and_seldom_otherwise(monkeypatch):
    slept, now = [], [1000.0]
    clock = polling.Clock(polling.soon(["--node-config", "partition-id=0 num-partitions=10"]))
    monkeypatch.setattr(polling.time, "sleep", slept.append)
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])
    clock.sleep(3)  # nothing has come yet
    clock.sleep(0.5)  # a message is being answered
    clock.sleep(3)
    now[0] += 31
    clock.sleep(3)
    assert slept == [3, polling.LOOK, pytest.approx(0.3), 3]
    assert clock.monotonic() == now[0]
    assert polling.soon(["num-partitions=1000"]) > 3  # Flower's own three seconds stay: see the minimum
    crowd = polling.Clock(10.2)
    crowd.sleep(0.5)
    crowd.sleep(3)
    assert slept[-1] == 3


@pytest.mark.parametrize("option", ["--isolation=subprocess", "--ssl-certfile=x", "--superexec-auth-secret-file=x"])
def test_what_bract_node_sets_itself_is_refused_in_one_line(option, capsys):
    assert main(["node", "--insecure", option]) == 1
    assert capsys.readouterr().err.startswith(f"bract: error: {option.split('=')[0]}: bract node sets it by itself")
