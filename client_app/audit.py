"""The audit log that a node's operator may ask for: a line for every message, of what was asked and what left."""

import hashlib
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

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
    policy = None
    with suppress(BractError):  # of a policy that cannot be read the answer itself has told
        policy = of_node(context.node_config)
    if policy is None or not policy.log.audit:
        return
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "server": server_name(),
        "run": context.run_id,
        "settings": hashlib.sha256(json.dumps(dict(context.run_config), sort_keys=True).encode()).hexdigest()[:16],
        "asked": kind,
        **_told(outcome),
    }
    handle = os.open(Path(policy.log.audit), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _told(outcome: RecordDict | str) -> dict[str, object]:
    if isinstance(outcome, str):
        return {"answered": "fault", "words": outcome}
    report = dict(outcome.config_records[REPORT]) if REPORT in outcome.config_records else {}
    payload = sum(len(array.data) for array in outcome.array_records.get(PAYLOAD, {}).values())
    left = sorted(f"{record}.{name}" for record, values in outcome.items() for name in values)
    words = str(report.get("reason", ""))
    return {"answered": str(report.get("status", "done")), "words": words, "payload_bytes": payload, "left": left}
