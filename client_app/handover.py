"""Handing a message to the node's resident trainer, over a socket that only its owner can use. No torch here.

A frame is a length and so many bytes: a line of JSON, then the content as Flower's own protobuf. No pickle.
"""

import hashlib
import json
import os
import socket
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.common.logger import log
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Proto

from bract.errors import BractError

PLACE = "BRACT_WORKER"  # the socket's path, in the environment of whatever `bract node` starts
LENGTH = struct.Struct(">Q")
MOST = 1 << 31  # bytes of a frame
INFO, WARNING = 20, 30


def ask(kind: str, content: RecordDict, context: Context) -> RecordDict | None:
    """The resident trainer's answer; None where there is none, or it runs other code than this app's.

    What it raises is raised here. If it dies over the message that is an error, and is not tried again here: what
    broke it would break this process too, and its ledger says what was spent.
    """
    place = os.environ.get(PLACE)
    if not place:
        return None
    words = {
        "kind": kind, "code": code(), "run_id": context.run_id, "node_id": context.node_id,
        "node_config": dict(context.node_config), "run_config": dict(context.run_config),
    }  # fmt: skip
    try:
        link = connected(Path(place))
    except OSError as error:
        log(WARNING, "no resident trainer at %s (%s): answering without", place, error)
        return None
    with link:
        try:
            send(link, words, content)
            said, found = receive(link)
        except (OSError, EOFError) as error:
            raise RuntimeError(f"the resident trainer ended over this message ({error})") from error
    if said.get("other_code"):
        log(WARNING, "the resident trainer runs another version of the app: answering without it")
        return None
    if "error" in said:
        raise BractError(str(said["error"])) if said.get("known") else RuntimeError(str(said["error"]))
    return found


def connected(place: Path) -> socket.socket:
    """A link to the socket, if it belongs to this user."""
    if place.stat().st_uid != os.getuid():
        raise PermissionError("it belongs to somebody else")
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(place))
    except OSError:
        link.close()
        raise
    return link


def send(link: socket.socket, words: dict[str, Any], content: RecordDict) -> None:
    """Write one frame."""
    data = json.dumps(words).encode() + b"\n" + recorddict_to_proto(content).SerializeToString()
    link.sendall(LENGTH.pack(len(data)) + data)


def receive(link: socket.socket) -> tuple[dict[str, Any], RecordDict]:
    """Read one frame. Its length is checked before anything is allocated."""
    (length,) = LENGTH.unpack(_exactly(link, LENGTH.size))
    if length > MOST:
        raise EOFError(f"a frame of {length} bytes")
    words, _, proto = _exactly(link, length).partition(b"\n")
    return json.loads(words), recorddict_from_proto(Proto.FromString(proto))


def _exactly(link: socket.socket, length: int) -> bytes:
    pieces, left = [], length
    while left:
        piece = link.recv(min(left, 1 << 20))
        if not piece:
            raise EOFError("it closed the connection")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


@lru_cache(maxsize=1)
def code() -> str:
    """A digest of the client's code, to tell one version from another."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for room in ("bract", "client_app"):
        for path in sorted((here.parent / room).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
