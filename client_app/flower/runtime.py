"""Flower's Runtime API, by which the SuperNode on this machine gives out a task and takes its answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from flwr.app import Context, Error, Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"  # what the secret is for; all else has the task's own token
ApiError = httpx.HTTPError  # the SuperNode was not reached, or refused


@contextmanager
def acquiring(address: str, secret: bytes) -> Iterator[Callable[[], str]]:
    """A function that takes the next task and gives its token, empty where there is none."""
    wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    guard = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=frozenset({ACQUIRE}))
    with _client(address, guard) as client:
        yield lambda: client.AcquireTask(wanted).token


@contextmanager
def task(address: str, token: str) -> Iterator["Task"]:
    """The task that a token is for."""
    with _client(address, RuntimeTokenHttpInterceptor(token)) as client:
        yield Task(client)


@dataclass(frozen=True)
class Task:
    """A message to answer: pull it, push the reply, finish."""

    client: RuntimeHttpClient

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """While it beats the SuperNode waits. If the task is no more, it interrupts this process (SIGINT)."""
        heart = HeartbeatSender(make_task_heartbeat_fn_http(self.client))
        heart.start()
        try:
            yield
        finally:
            heart.stop()

    def pull(self) -> tuple[Message, Context]:
        """The message and the node's context. Of the app's code that comes with them nothing is used."""
        message, context, _, _ = pull_task_input(self.client)
        return message, context

    def push(self, reply: Message, context: Context) -> None:
        """Give the reply."""
        push_message(self.client, reply, context)

    def finish(self, context: Context | None, why_not: str) -> None:
        """The last word; `why_not` is empty where the task was completed."""
        push_task_output(self.client, context, SubStatus.FAILED if why_not else SubStatus.COMPLETED, why_not)


def raised(message: Message, why: str) -> Message:
    """The reply that the app raised an exception."""
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why), reply_to=message)


def crashed(message: Message, why: str) -> Message:
    """The reply that the process died over the message."""
    return Message(Error(ErrorCode.CLIENT_APP_CRASHED, why), reply_to=message)


def head_to_bytes(message: Message) -> bytes:
    """A message without its content: enough to reply to it."""
    return bytes(message_to_proto(remove_content_from_message(message)).SerializeToString())


def head_from_bytes(data: bytes) -> Message:
    """What `head_to_bytes` wrote."""
    return message_from_proto(MessageProto.FromString(data))


@contextmanager
def _client(address: str, guard: ProtobufClientInterceptor) -> Iterator[RuntimeHttpClient]:
    client = RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=True,
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), guard],
        retry_invoker=make_simple_http_retry_invoker(),
    )
    try:
        yield client
    finally:
        client.close()
