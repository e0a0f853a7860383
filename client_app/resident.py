"""The resident trainer of a node: it keeps model and data while Flower's short processes come and go.

Started by `bract node` beside the SuperNode, and ends with it. Messages are answered one after the other.
"""

import os
import signal
import socket
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.common.logger import log

from bract.errors import BractError
from client_app import handover

INFO, ERROR = 20, 40
SHARE = 0.5  # of the machine's memory: with more it ends after its answer, and is started afresh
FULL = 75  # the exit code that says so


def main() -> int:
    """Serve at the path that is the only argument, until told to end: by `bract node`, or by its death."""
    place = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    place.unlink(missing_ok=True)
    before = os.umask(0o177)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    os.umask(before)
    listener.listen(64)  # from here on messages wait, while torch is imported
    import client_app.answer  # noqa: F401

    log(INFO, "resident trainer ready")
    while True:
        link, _ = listener.accept()
        with link:
            if _own(link):
                serve(link)
        if resident() > SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            log(INFO, "resident trainer: above %.0f %% of the machine's memory, starting afresh", 100 * SHARE)
            return FULL


def serve(link: socket.socket) -> None:
    """Answer one message. A fault is the answer; that the asker has gone, or makes no sense, is none."""
    try:
        words, content = handover.receive(link)
        context = Context(
            words["run_id"], words["node_id"], words["node_config"], RecordDict(), words["run_config"]
        )  # what Flower keeps of a context is not used: it is lost with the SuperNode
        kind, other = words["kind"], words["code"] != handover.code()
    except Exception as error:
        log(ERROR, "resident trainer: what came is no message (%s)", type(error).__name__)
        return
    said: dict[str, Any] = {"other_code": True} if other else {}
    reply = RecordDict()
    try:
        reply = reply if other else _answered(kind, content, context)
    except _FaultError as fault:
        said = {"error": str(fault), "known": fault.known}
    try:
        handover.send(link, said, reply)
    except OSError as error:
        log(ERROR, "resident trainer: the asker has gone (%s)", error)


class _FaultError(Exception):
    """What went wrong while answering."""

    def __init__(self, words: str, *, known: bool) -> None:
        super().__init__(words)
        self.known = known


def _answered(kind: str, content: RecordDict, context: Context) -> RecordDict:
    from client_app.answer import answer

    try:
        return answer(kind, content, context)
    except BractError as error:
        raise _FaultError(str(error), known=True) from error
    except Exception as error:
        log(ERROR, "%s", traceback.format_exc())
        raise _FaultError(f"{type(error).__name__}: {error}", known=False) from error


def _own(link: socket.socket) -> bool:
    """Whether the asker is this user; the folder's permissions say so too."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, user, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(user == os.getuid())


def resident() -> int:
    """Bytes of memory that this process has, where Linux says so."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
