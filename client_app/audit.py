"""The audit log that a node's operator may ask for: a line for every message, of what was asked and what left."""

import hashlib
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

from flwr.app import Context, RecordDict

from bract.errors import BractError
from bract.wire.messages import PAYLOAD, REPORT
from client_app.policy.judge import server_name
from client_app.policy.reading import of_node


def note(context: Context, kind: str, outcome: RecordDict | str) -> None:
    """Write a line of a reply, or of the words of a fault, if the node's policy names a file for it.

    It says who asked for what, whether it was answered, in which words not, and how many bytes left. It holds nothing
    that the server did not see.
    """
    if not (path := _path(context)):
        return
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "server": server_name(),
        "run": context.run_id,
        "settings": hashlib.sha256(json.dumps(dict(context.run_config), sort_keys=True).encode()).hexdigest()[:16],
        "asked": kind,
        **_told(outcome),
    }
    with _opened(path) as file:
        file.write(json.dumps(line) + "\n")


def require_writable(context: Context) -> None:
    """Raise OSError where a line could not be written: before anything is spent, and not after."""
    if path := _path(context):
        _opened(path).close()


def _path(context: Context) -> str:
    with suppress(BractError):  # of a policy that cannot be read the answer itself tells
        policy = of_node(context.node_config)
        return policy.log.audit if policy is not None else ""
    return ""


def _opened(path: str) -> TextIO:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(handle, "w", encoding="utf-8")


def _told(outcome: RecordDict | str) -> dict[str, object]:
    if isinstance(outcome, str):
        return {"answered": "fault", "words": outcome}
    report = dict(outcome.config_records[REPORT]) if REPORT in outcome.config_records else {}
    payload = sum(len(array.data) for array in outcome.array_records.get(PAYLOAD, {}).values())
    left = sorted(f"{record}.{name}" for record, values in outcome.items() for name in values)
    words = str(report.get("reason", ""))
    return {"answered": str(report.get("status", "done")), "words": words, "payload_bytes": payload, "left": left}
