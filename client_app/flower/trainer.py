"""The resident trainer of a node: it takes Flower's tasks one after the other and keeps model and data between them.

`bract node` starts it beside a SuperNode, in the place of Flower's own executor, which would start a process for every
message, and would run whatever code the server's app holds. This one runs the code that is installed beside it and no
other: of a run it takes the settings and the messages.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.logger import log
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

from bract.errors import BractError
from bract.files import replacing

INFO, ERROR = 20, 40
PAUSE = 0.1  # seconds between two looks for a task
SHARE = 0.5  # of the machine's memory: with more it ends after its answer, and is started afresh
FULL, STOPPED = 75, 76  # the exit codes that say so
ASKING = frozenset({"/flwr.proto.Runtime/AcquireTask"})  # what the secret is for; all else has the task's own token


def main() -> int:
    """Serve the SuperNode at an address, with a secret in a file, until told to end: by `bract node`, or its death."""
    address, secret = sys.argv[1], Path(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    under_way = UnderWay(secret.with_name("task"))

    def stopped(*_: object) -> None:
        under_way.forget()  # there is nobody to tell
        os._exit(STOPPED)

    # Flower's heartbeat, or a request with its token, interrupts the process when its task is no more. What was being
    # trained is thrown away as if the power had failed, which the ledger and the state are made for.
    signal.signal(signal.SIGINT, stopped)
    under_way.report(address)
    import client_app.local_round  # noqa: F401 - torch and all that is slow, before the first message comes

    with closing(
        address, SuperExecAuthHttpInterceptor(master_secret=secret.read_bytes(), protected_methods=ASKING)
    ) as link:
        log(INFO, "resident trainer ready")
        wanted = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        while True:
            token = link.AcquireTask(wanted).token
            if not token:
                time.sleep(PAUSE)
                continue
            try:
                work(address, token, under_way)
            except httpx.HTTPError as error:
                log(ERROR, "resident trainer: the SuperNode did not take the answer (%s)", error)
            if resident() > SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
                log(INFO, "resident trainer: above %.0f %% of the machine's memory, starting afresh", 100 * SHARE)
                return FULL


class UnderWay:
    """The task that is being answered, on disk, so that the next trainer can say that this one died over it.

    Without it the SuperNode would wait a minute for a heartbeat.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, token: str, message: Message) -> None:
        """Before the answer is begun."""
        with replacing(self.path) as temporary:
            temporary.write_bytes(
                token.encode() + b"\n" + message_to_proto(remove_content_from_message(message)).SerializeToString()
            )
            temporary.chmod(0o600)

    def forget(self) -> None:
        """After it was given."""
        self.path.unlink(missing_ok=True)

    def report(self, address: str) -> None:
        """If one is left, its error is the answer."""
        if not self.path.exists():
            return
        token, _, proto = self.path.read_bytes().partition(b"\n")
        self.forget()  # first: it is said once, whatever comes of it
        message = message_from_proto(MessageProto.FromString(proto))
        why = "the node's trainer was ended over this message (out of memory?); the node has started another"
        log(ERROR, "resident trainer: %s", why)
        with suppress(httpx.HTTPError), closing(address, RuntimeTokenHttpInterceptor(token.decode())) as link:
            context = Context(message.metadata.run_id, message.metadata.dst_node_id, {}, RecordDict(), {})
            push_message(link, Message(Error(ErrorCode.CLIENT_APP_CRASHED, why), reply_to=message), context)
            push_task_output(link, None, SubStatus.FAILED, why)


def work(address: str, token: str, under_way: UnderWay) -> None:
    """Answer one task's message. A fault is an answer too."""
    from client_app.app import app

    with closing(address, RuntimeTokenHttpInterceptor(token)) as link:
        heart = HeartbeatSender(make_task_heartbeat_fn_http(link))
        heart.start()
        status, why = SubStatus.COMPLETED, ""
        try:
            message, context, _, _ = pull_task_input(link)
            under_way.keep(token, message)
            log(INFO, "resident trainer: answering a %s message", message.metadata.message_type)
            try:
                reply = app(message, context)
            except Exception as error:
                status, why = SubStatus.FAILED, f"{type(error)}:<'{error}'>"  # in Flower's own words
                log(ERROR, "the client raised an exception", exc_info=None if isinstance(error, BractError) else error)
                reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, why), reply_to=message)
            push_message(link, reply, context)
        finally:
            heart.stop()  # first: a heartbeat of a finished task would interrupt
            under_way.forget()
        push_task_output(link, context, status, why)


@contextmanager
def closing(address: str, guard: ProtobufClientInterceptor) -> Iterator[RuntimeHttpClient]:
    """A link to the SuperNode on this machine."""
    link = RuntimeHttpClient.from_server_address(
        server_address=address, insecure=True, root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), guard],
        retry_invoker=make_simple_http_retry_invoker(),
    )  # fmt: skip
    try:
        yield link
    finally:
        link.close()


def resident() -> int:
    """Bytes of memory that this process has, where Linux says so."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
