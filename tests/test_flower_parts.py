"""Flower's private parts: each is there and does what Bract relies on it for, and nothing but the doors imports one."""

import ast
import inspect
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid

from bract.flower.superlink import served
from bract.log import log
from client_app.flower import runtime
from server_app.transport import NODE_LOST, WORKER_DIED
from tests.flower import messages, node
from tests.flower.parts import DOORS, ROOT, Part, parts

FLOWER_PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.clientapp.mod", "flwr.serverapp", "flwr.serverapp.strategy")
CHECKS: dict[str, Callable[[Any], object]] = {}


def check(*names: str) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
    """The function holds these parts against what Bract relies on."""

    def keep(function: Callable[[Any], object]) -> Callable[[Any], object]:
        CHECKS.update(dict.fromkeys(names, function))
        return function

    return keep


def takes(part: Any, *values: Any, **named: Any) -> None:
    inspect.signature(part).bind(*values, **named)


@pytest.mark.parametrize("part", parts(), ids=lambda part: f"{part.door.parent.name}-{part.name}")
def test_a_private_part_of_flower_s_does_what_is_relied_on(part):
    try:
        CHECKS[part.name](part.find())
    except Exception as error:
        pytest.fail(f"{part}\n{type(error).__name__}: {error}", pytrace=False)


def test_no_check_is_for_a_part_that_no_door_lists():
    assert set(CHECKS) == {part.name for part in parts()}


# Beside the SuperLink and the SuperNode


@check("flwr.superlink.extensions.get_middleware")
def what_it_gives_comes_first(part):
    main, extensions = import_module("flwr.superlink.main"), import_module("flwr.superlink.extensions")
    takes(part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extensions, "get_middleware", lambda: (mark, *part()))
        mark = import_module("starlette.middleware").Middleware(object)
        assert main.create_app().user_middleware[0] is mark


@check("flwr.superlink.cli.flower_superlink")
def it_takes_its_words_from_the_command_line_and_makes_its_application_when_it_is_called(part):
    takes(part)
    assert "create_app(" in inspect.getsource(import_module(part.__module__))


@check("flwr.supernode.start_client_internal.time")
def a_supernode_sleeps_by_it_for_so_long(part):
    assert part is time
    module = import_module("flwr.supernode.start_client_internal")
    assert "time.sleep(3)" in inspect.getsource(module.start_client_internal)
    assert "time.sleep(0.5)" in inspect.getsource(module._push_messages)


@check("flwr.supernode.cli.flower_supernode._parse_args_run_supernode")
def it_knows_the_options_that_bract_node_sets(part):
    words = "--host 127.0.0.1 --port 1 --isolation process --superexec-auth-secret-file x"
    found = part().parse_args(words.split())
    assert (found.host, found.port, found.isolation) == ("127.0.0.1", 1, "process")
    assert found.superexec_auth_secret_file == "x"


@check("flwr.common.config.parse_config_args")
def a_node_s_configuration_is_read_by_it(part):
    assert part(['partition-id=0 policy="/a b.toml"']) == {"partition-id": 0, "policy": "/a b.toml"}
    assert part([""]) == {}
    command = inspect.getsource(import_module("flwr.supernode.cli.flower_supernode"))
    assert "parse_config_args(" in command.partition("node_config=")[2]


@check(
    "flwr.supercore.constant.FLWR_DISABLE_UPDATE_CHECK",
    "flwr.common.constant.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION",
)
def the_environment_s_word_is_the_known_one(part):
    assert part in ("FLWR_DISABLE_UPDATE_CHECK", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION")


@check("flwr.supercore.telemetry.FLWR_TELEMETRY_ENABLED")
def it_is_what_the_environment_says(part):
    assert part == os.environ["FLWR_TELEMETRY_ENABLED"] == "0"


@check("flwr.superlink.grid.HttpGrid")
def a_server_has_it_and_a_simulation_has_not(part):
    assert issubclass(part, Grid)
    assert import_module("flwr.superlink.runtime.run_serverapp").HttpGrid is part
    assert not issubclass(import_module("flwr.superlink.grid").InMemoryGrid, part)


@check("flwr.superlink.routers.fleet.router.router")
def nodes_requests_and_no_others_are_served_to_other_machines(part):
    fleet = {route.path for route in part.routes}
    assert "/v1/fleet/pull-messages" in fleet
    everything = set(import_module("flwr.superlink.main").create_app().openapi()["paths"])
    assert {path for path in everything if from_elsewhere(path)} == fleet | {"/health"}
    assert {path.split("/")[2] for path in everything if path.startswith("/v1/")} >= {"control", "fleet", "runtime"}


@check("flwr.supercore.routers.health.router")
def health_is_at_its_path(part):
    assert {route.path for route in part.routes} == {"/health"}


def from_elsewhere(path):
    return served({"type": "http", "client": ("10.0.0.7", 1), "path": path})


@check("flwr.supercore.logger.FLOWER_LOGGER")
def lines_are_written_to_it(part):
    assert part is logging.getLogger("flwr")
    assert log == part.log
    assert part.handlers
    assert part.isEnabledFor(logging.INFO)


# The trainer


class StopError(Exception):
    """Nothing is sent."""


class Recorder:
    """An interceptor behind all others."""

    def intercept(self, context, call_next):
        self.method, self.headers = context.rpc_method, dict(context.request.headers)
        raise StopError


def asked(*guards):
    """What is asked, and with which headers, when a task is asked for."""
    client, last = import_module("flwr.supercore.runtime").RuntimeHttpClient, Recorder()
    words = {"server_address": "127.0.0.1:1", "insecure": True, "root_certificates": None, "retry_invoker": None}
    one = client.from_server_address(**words, interceptors=[*guards, last])
    with pytest.raises(StopError):
        one.AcquireTask(runtime.AcquireTaskRequest(supported_task_types=[runtime.TaskType.CLIENT_APP]))
    one.close()
    return last.method, last.headers


@check("flwr.supercore.runtime.RuntimeHttpClient", "flwr.supercore.protobuf.client.ProtobufClientInterceptor")
def it_asks_by_the_name_that_the_secret_is_for(part):
    assert asked()[0] == runtime.ACQUIRE
    takes(import_module("flwr.supercore.protobuf.client").ProtobufClientInterceptor.intercept, Recorder(), 0, 0)


@check("flwr.supercore.interceptors.RuntimeVersionHttpInterceptor")
def it_says_which_flower_asks(part):
    assert "flwr-clientapp" in asked(part(component_name="flwr-clientapp"))[1].values()


@check("flwr.supercore.interceptors.SuperExecAuthHttpInterceptor")
def it_signs_with_the_secret_what_it_is_to_sign(part):
    plain = set(asked()[1])
    assert set(asked(part(master_secret=bytes(32), protected_methods={runtime.ACQUIRE}))[1]) > plain
    assert set(asked(part(master_secret=bytes(32), protected_methods={"another"}))[1]) == plain


@check("flwr.supercore.interceptors.RuntimeTokenHttpInterceptor")
def it_shows_the_token(part):
    assert "a token" in asked(part("a token"))[1].values()


@check("flwr.supercore.retry.make_simple_http_retry_invoker")
def it_calls_what_it_is_given(part):
    assert part().invoke(lambda: "done") == "done"


@check("flwr.supercore.heartbeat.HeartbeatSender")
def it_beats_at_once_and_until_it_is_stopped(part):
    beaten = threading.Event()
    heart = part(lambda: beaten.set() or True)
    heart.start()
    assert beaten.wait(10)
    heart.stop()
    assert not heart.is_running


@check("flwr.supercore.heartbeat.make_task_heartbeat_fn_http")
def it_interrupts_when_the_task_is_no_more(part):
    class Client:
        success = True

        def SendTaskHeartbeat(self, _):  # noqa: N802 - Flower's name
            return self

    before, told = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda *_: told.append(1))
    try:
        beat = part(Client())
        assert beat()
        assert not told
        Client.success = False
        beat()
        assert told
    finally:
        signal.signal(signal.SIGINT, before)


@check("flwr.supercore.constant.TaskType", "flwr.proto.runtime_pb2.AcquireTaskRequest")
def a_client_app_s_task_can_be_asked_for(part):
    wanted = runtime.AcquireTaskRequest(supported_task_types=[runtime.TaskType.CLIENT_APP])
    assert list(wanted.supported_task_types) == [runtime.TaskType.CLIENT_APP]


@check("flwr.supernode.runtime.run_clientapp.pull_task_input")
def it_gives_message_context_and_two_more(part):
    takes(part, "client")
    assert get_args(get_type_hints(part)["return"])[:2] == (Message, Context)
    assert len(get_args(get_type_hints(part)["return"])) == 4


@check("flwr.supernode.runtime.run_clientapp.push_message")
def it_takes_the_reply_and_the_context(part):
    assert list(inspect.signature(part).parameters) == ["client", "message", "context"]


@check("flwr.supernode.runtime.run_clientapp.push_task_output")
def it_takes_the_context_and_how_it_ended(part):
    assert list(inspect.signature(part).parameters) == ["client", "context", "sub_status", "details"]


@check("flwr.common.constant.SubStatus")
def a_task_ends_in_one_of_two_ways(part):
    assert (part.COMPLETED, part.FAILED) == ("completed", "failed")


@check("flwr.common.constant.ErrorCode")
def codes_of_errors_are_the_known_ones(part):
    assert (part.UNKNOWN, part.NODE_UNAVAILABLE) == (WORKER_DIED, NODE_LOST)
    assert part.CLIENT_APP_RAISED_EXCEPTION != part.CLIENT_APP_CRASHED


@check(
    "flwr.app.message.remove_content_from_message",
    "flwr.common.serde.message_to_proto",
    "flwr.common.serde.message_from_proto",
    "flwr.proto.message_pb2.Message",
)
def a_message_s_head_is_enough_to_reply_to(part):
    messages.identify()
    whole = messages.stamp(Message(content(4000), dst_node_id=7, message_type="train"), message_id="m")
    head = runtime.head_to_bytes(whole)
    assert len(head) < 1000
    reply = runtime.crashed(runtime.head_from_bytes(head), "why")
    assert reply.metadata.reply_to_message_id == "m"
    assert (reply.metadata.src_node_id, reply.metadata.run_id, reply.error.reason) == (7, 1, "why")


# The tests


def content(values=4):
    import numpy as np

    array = Array(np.arange(values, dtype=np.float32))
    return RecordDict({"arrays": ArrayRecord({"x": array}), "config": ConfigRecord({"round": 1})})


@check(
    "flwr.supercore.task_identity.TaskIdentity",
    "flwr.common.serde.recorddict_to_proto",
    "flwr.common.serde.recorddict_from_proto",
    "flwr.proto.recorddict_pb2.RecordDict",
)
def a_message_can_be_made_and_its_content_written_and_read_back(part):
    messages.identify(run=3)
    assert Message(content(), dst_node_id=1, message_type="train").metadata.run_id == 3
    assert messages.written(messages.read_back(messages.written(content()))) == messages.written(content())


@check("flwr.superlink.main.create_app")
def a_superlink_s_application_needs_no_settings(part):
    takes(part)


@check("flwr.supernode.main.create_app")
def a_supernode_s_application_needs_its_state_and_the_secret(part):
    takes(part, "factory", b"secret")


@check("flwr.supernode.nodestate.NodeStateFactory", "flwr.supercore.object_store.ObjectStoreFactory")
def a_supernode_s_state_is_made_of_a_store(part):
    state = node.NodeStateFactory(objectstore_factory=node.ObjectStoreFactory()).state()
    wanted = (
        "set_node_id",
        "create_task",
        "store_run",
        "store_fab",
        "store_message",
        "get_messages_legacy",
        "get_tasks",
        "finish_task",
        "set_run_series_context",
        "object_store",
    )
    assert not [name for name in wanted if not hasattr(state, name)]


@check("flwr.supercore.run.Run")
def a_run_can_be_empty(part):
    assert {"fab_hash", "series_id", "run_id"} <= set(vars(part.create_empty(1)))


@check("flwr.supercore.fab.Fab")
def code_has_a_hash(part):
    assert part("hash", b"", {}).hash_str == "hash"


@check(
    "flwr.supercore.inflatable.inflatable_object.get_all_nested_objects",
    "flwr.supercore.inflatable.inflatable_object.get_object_tree",
    "flwr.proto.message_pb2.ObjectTree",
    "flwr.supercore.inflatable.inflatable_object.no_object_id_recompute",
    "flwr.supercore.inflatable.inflatable_utils.inflate_object_from_contents",
)
def a_message_goes_to_pieces_and_comes_back(part):
    messages.identify()
    message = Message(content(), dst_node_id=1, message_type="train")
    with node.no_object_id_recompute():
        name = node.get_object_tree(message).object_id
        pieces = {key: one.deflate() for key, one in node.get_all_nested_objects(message).items()}
    again = node.inflate_object_from_contents(name, pieces)
    assert messages.written(again.content) == messages.written(message.content)


# Who may import them


def private(path: Path) -> Iterator[str]:
    """The parts of Flower's that a file imports, or names in a text that imports them, and that are not public."""
    for found in ast.walk(ast.parse(path.read_text())):
        if isinstance(found, ast.ImportFrom) and found.module and not found.level:
            names = [f"{found.module}.{alias.name}" for alias in found.names]
        elif isinstance(found, ast.Import):
            names = [alias.name for alias in found.names]
        elif isinstance(found, ast.Constant) and isinstance(found.value, str):
            names = re.findall(r"^(flwr\.[\w.]+)$|(?:from|import) +(flwr[\w.]*)", found.value)
            names = [one or other for one, other in names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "flwr" and not public(name))


def public(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return name in FLOWER_PUBLIC or (module in FLOWER_PUBLIC and attribute in import_module(module).__all__)


def python_files() -> list[Path]:
    rooms = ("bract", "client_app", "server_app", "strategies", "docker", "benchmarks", "tests")
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def test_nothing_but_the_doors_imports_a_private_part():
    outside = [path for path in python_files() if path.parent not in DOORS and path != Path(__file__)]
    assert len(outside) > 100
    found = {str(path.relative_to(ROOT)): names for path in outside if (names := list(private(path)))}
    assert not found, "flwr.app, flwr.clientapp and flwr.serverapp are public; the rest goes through a door"


def test_nothing_but_the_door_writes_into_a_message_s_metadata():
    outside = [path for path in python_files() if path.parent not in DOORS and path != Path(__file__)]
    assert not [path for path in outside if re.search(r"metadata\.__dict__", path.read_text())]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.parent.name)
def test_a_door_s_list_is_what_it_imports(door):
    used = {name for path in door.glob("*.py") for name in private(path)}
    listed = {part.name for part in parts() if part.door == door and part.imported}
    assert {name for name in used if not any(under(one, name) for one in listed)} == set(), "not in its list"
    assert {one for one in listed if not any(under(one, name) for name in used)} == set(), "no longer imported"


def under(listed: str, name: str) -> bool:
    """Whether what is listed is what was imported, or a part of it."""
    return listed == name or listed.startswith(f"{name}.")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from flwr.app import Message", []),
        ("from flwr.serverapp.strategy import Strategy", []),
        ("from flwr_datasets import partitioner", []),
        ("from flwr.app import message", ["flwr.app.message"]),
        ("from flwr.app.message import remove_content_from_message", ["flwr.app.message.remove_content_from_message"]),
        ("from flwr.common.logger import log", ["flwr.common.logger.log"]),
        ("def f():\n    import flwr.proto.task_pb2 as x", ["flwr.proto.task_pb2"]),
        ("from flwr import supercore", ["flwr.supercore"]),
        ("import flwr", ["flwr"]),
        ("import_module('flwr.superlink.main')", ["flwr.superlink.main"]),
        ("code = 'import sys; from flwr.supercore import x'", ["flwr.supercore"]),
    ],
)
def test_what_counts_as_private(tmp_path, text, found):
    (tmp_path / "one.py").write_text(text)
    assert list(private(tmp_path / "one.py")) == found


def test_a_part_that_is_gone_is_named_with_what_it_was_for(monkeypatch):
    lost = Part(ROOT / "bract" / "flower", "flwr.superlink.nowhere", "thing", "opening the door", imported=True)
    monkeypatch.setattr("tests.flower.parts.parts", partial(list, [lost]))
    from tests.flower.parts import gone

    (line,) = gone()
    assert "flwr.superlink.nowhere.thing, on which bract/flower relies for: opening the door" in line
