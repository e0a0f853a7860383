"""The resident trainer of a node: it takes Flower's tasks one after the other and keeps model and data between them.

`bract node` starts it beside a SuperNode, in the place of Flower's own executor, which would start a process for every
message, and would run whatever code the server's app holds. This one runs the code that is installed beside it and no
other: of a run it takes the settings and the messages.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from flwr.app import Context, Message, RecordDict

from bract.errors import BractError
from bract.files import replacing
from bract.log import log
from client_app.flower import runtime

INFO, ERROR = 20, 40
PAUSE = 0.1  # seconds between two looks for a task
SHARE = 0.5  # of the machine's memory: with more it ends after its answer, and is started afresh
FULL, STOPPED = 75, 76  # the exit codes that say so


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
    import client_app.rounds.local_round  # noqa: F401 - torch and all that is slow, before the first message comes

    with runtime.acquiring(address, secret.read_bytes()) as acquire:
        log(INFO, "resident trainer ready")
        while True:
            token = acquire()
            if not token:
                time.sleep(PAUSE)
                continue
            try:
                work(address, token, under_way)
            except runtime.ApiError as error:
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
            temporary.write_bytes(token.encode() + b"\n" + runtime.head_to_bytes(message))
            temporary.chmod(0o600)

    def forget(self) -> None:
        """After it was given."""
        self.path.unlink(missing_ok=True)

    def report(self, address: str) -> None:
        """If one is left, its error is the answer."""
        if not self.path.exists():
            return
        token, _, head = self.path.read_bytes().partition(b"\n")
        self.forget()  # first: it is said once, whatever comes of it
        message = runtime.head_from_bytes(head)
        why = "the node's trainer was ended over this message (out of memory?); the node has started another"
        log(ERROR, "resident trainer: %s", why)
        with suppress(runtime.ApiError), runtime.task(address, token.decode()) as task:
            context = Context(message.metadata.run_id, message.metadata.dst_node_id, {}, RecordDict(), {})
            task.push(runtime.crashed(message, why), context)
            task.finish(None, why)


def work(address: str, token: str, under_way: UnderWay) -> None:
    """Answer one task's message. A fault is an answer too."""
    with runtime.task(address, token) as task:
        try:
            with task.heartbeat():  # it ends before the last word: that of a finished task would interrupt
                message, context = task.pull()
                under_way.keep(token, message)
                log(INFO, "resident trainer: answering a %s message", message.metadata.message_type)
                reply, why = answer(message, context)
                task.push(reply, context)
        finally:
            under_way.forget()
        task.finish(context, why)


def answer(message: Message, context: Context) -> tuple[Message, str]:
    """The reply, and what went wrong, if anything."""
    from client_app.app import app

    try:
        return app(message, context), ""
    except Exception as error:
        why = f"{type(error)}:<'{error}'>"  # in Flower's own words
        log(ERROR, "the client raised an exception", exc_info=None if isinstance(error, BractError) else error)
        return runtime.raised(message, why), why


def resident() -> int:
    """Bytes of memory that this process has, where Linux says so."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
