"""A node with a policy, a server that asks it what it likes, and all that leaves the node in answer.

The server is played by ordinary messages, written to bytes and read again; the node is the real ClientApp.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from flwr.app import Array, ConfigRecord, Context, Message, RecordDict

from bract.adapter.layout import Layout, Part, Parts
from bract.models import base_model
from bract.settings.flat import toml
from bract.settings.schema import Settings
from bract.wire.cards import ClientCard
from bract.wire.messages import PAYLOAD, PLAN, payload_record
from bract.wire.payload import HEADER, Payload, pack
from bract.wire.plan import Plan
from client_app.app import app as client_app
from tests.flower.messages import identify, read_back, stamp, written
from tests.harness import TEXTS

Row = dict[str, Any]
Words = Mapping[str, Any]
App = Callable[[Message, Context], Message]

KINDS = {"join": "query.join", "head": "query.head", "train": "train", "evaluate": "evaluate"}
TEXT, LABEL = "story", "topic"  # the columns that are meant; the file has two more
COLUMNS = (TEXT, LABEL, "ssn", "patient")
LABELS = tuple(TEXTS)
UNLISTED = "terminal"  # a label that is in the data and not in the policy's list


def rows_of(count: int = 32) -> list[Row]:
    """So many rows, each with cells that nobody may learn; one label is not in the list."""
    pairs = [
        (text, label) for texts in zip(*TEXTS.values(), strict=True) for text, label in zip(texts, LABELS, strict=True)
    ]
    found = [
        {TEXT: f"{text} {i}", LABEL: label, "ssn": f"{100 + i}-05-{7000 + i}", "patient": f"Roe-{i % 9}"}
        for i, (text, label) in enumerate(islice(cycle(pairs), count))
    ]
    found[-1][LABEL] = UNLISTED if count > 4 else found[-1][LABEL]
    return found


@dataclass(frozen=True)
class Reply:
    """All that left the node in answer to one message: its records, or the words of an error."""

    content: RecordDict
    error: str = ""

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Every entry of every record, by `record/entry`; of a payload its bytes."""
        found: dict[str, Any] = {"error": self.error} if self.error else {}
        for name, record in self.content.items():
            for entry, value in record.items():
                found[f"{name}/{entry}"] = value.data if isinstance(value, Array) else value
        return found

    @property
    def status(self) -> str:
        """`done`, `abstained`, `error`, or `answered` where the reply has no status."""
        return "error" if self.error else str(self.fields.get("report/status", "answered"))

    @property
    def words(self) -> str:
        """Why not, where it says so."""
        return self.error or str(self.fields.get("report/reason", ""))

    @property
    def words_without_id(self) -> str:
        """The same without the id under which the node's log has a fault."""
        return re.sub(r"\b[0-9a-f]{8,}\b", "ID", self.words)

    @property
    def everything(self) -> str:
        """All its bytes as one text, to be searched."""
        return written(self.content).decode("latin-1") + self.error

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers that it reports."""
        return {name.partition("/")[2]: value for name, value in self.fields.items() if name.startswith("metrics/")}

    @property
    def payload(self) -> bytes:
        """What it sends, Bract's header included."""
        data: bytes = self.fields["payload/payload"]
        return data[10 + int.from_bytes(data[8:10], "little") :]

    @property
    def declined(self) -> bool:
        """Whether it gives nothing but words."""
        return self.status in ("error", "abstained") and not self.metrics and "payload/payload" not in self.fields

    @property
    def card(self) -> ClientCard:
        """What it says of itself when it joins."""
        assert not self.error, self.error
        return ClientCard.from_text(str(self.fields["report/card"]))


class Node:
    """A node of its own data under a policy. `policy` is what its operator changes, by table and key."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        rows: Sequence[Row] | None = None,
        *,
        policy: Mapping[str, Words] | None = None,
        config: Words | None = None,
        suffix: str = ".csv",
        app: App = client_app,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model, self.app, self.home = folder, model, app, folder / "home"
        self.rows = rows_of() if rows is None else list(rows)
        self.data = write_rows(folder / f"ward7{suffix}", self.rows)
        self.policy = write_policy(folder / "node.toml", model, policy or {})
        self.config = {
            "partition-id": 0,
            "num-partitions": 2,
            "policy": str(self.policy),
            "data-path": str(self.data),
            **(config or {}),
        }
        self._layouts: dict[str, Layout] = {}

    def ask(self, kind: str, wishes: Words | None = None, content: RecordDict | None = None) -> Reply:
        """One message under these settings of the server's, and what comes back."""
        identify()
        arrived = Message(read_back(written(content or RecordDict())), dst_node_id=7, message_type=KINDS[kind])
        stamp(arrived, message_id="m")
        context = Context(1, 7, dict(self.config), RecordDict(), {**self.wishes, **(wishes or {})})
        try:
            with patch.dict(os.environ, BRACT_HOME=str(self.home)):  # its own ledger, state and secret
                reply = self.app(arrived, context)
        except Exception as error:  # in the words in which Flower, and Bract's trainer, send it on
            return Reply(RecordDict(), f"{type(error)}:<'{error}'>")
        return Reply(read_back(written(reply.content)))

    @property
    def wishes(self) -> dict[str, Any]:
        """A run that the policy allows."""
        return {
            **Settings().flat(),
            "rounds": 2,
            "model.name": str(self.model),
            "data.source": "node",
            "data.text": TEXT,
            "data.label": LABEL,
            "data.max-length": 16,
            "lora.rank": 2,
            "lora.alpha": 4.0,
            "train.batch": 4,
            "train.steps": 2,
            "privacy.delta": 1e-3,
            "privacy.accountant": "rdp",
        }

    def layout(self, wishes: Words | None = None) -> Layout:
        """What the server knows of the adapter: the card says it, at worst that of a run that is not declined."""
        key = json.dumps(dict(wishes or {}), default=str)
        if key not in self._layouts:
            reply = self.ask("join", wishes)
            if reply.error and wishes:
                return next(iter(self._layouts.values()), None) or self.layout()
            self._layouts[key] = reply.card.layout
        return self._layouts[key]

    def train(self, wishes: Words | None = None, *, head: float = 0.0, **plan: Any) -> Reply:
        """An ordinary round of training B and the head, in which `head` is what the server sends down."""
        asked = Plan(**{"round": 1, "federation": "f", **parts("trains", "sends", "receives"), **plan})
        return self.ask("train", wishes, message(asked, self.layout(wishes), head=head))

    def evaluate(self, wishes: Words | None = None, *, head: Sequence[float] | float = 0.0, **plan: Any) -> Reply:
        """Measuring of B = 0 and of the head that the server sends down."""
        asked = Plan(**{"round": 1, "federation": "f", **parts("receives"), **plan})
        return self.ask("evaluate", wishes, message(asked, self.layout(wishes), head=head))


def parts(*names: str) -> dict[str, tuple[Part, ...]]:
    """B and the head under each of these names of a plan's."""
    return dict.fromkeys(names, ("B", "head"))


def message(plan: Plan, layout: Layout, *, head: Sequence[float] | float = 0.0) -> RecordDict:
    """A plan and the parts that it says come down: zeros, but for the head's bias."""
    sent: Parts = {part: np.zeros(layout.size(part, plan.carried), dtype=np.float32) for part in plan.receives}
    if "head" in sent:
        bias = sent["head"][-layout.head[-1].size :]
        values = np.atleast_1d(np.asarray(head, dtype=np.float32))
        bias[: len(values)] = values
    return RecordDict(
        {PLAN: plan.to_record(), PAYLOAD: payload_record(pack(layout, Payload(plan.round, sent, plan.carried)))}
    )


def with_plan(content: RecordDict, plan: Words | str) -> RecordDict:
    """The same message with some of its plan's fields as they are here, or with these words in the plan's place."""
    value = (
        plan if isinstance(plan, str) else json.dumps({**json.loads(str(content.config_records[PLAN]["plan"])), **plan})
    )
    return RecordDict({**content, PLAN: ConfigRecord({"plan": value})})


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """A node's file: CSV, or JSONL where cells are to be of any kind."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return path


def write_policy(path: Path, model: Path, changed: Mapping[str, Words]) -> Path:
    """A policy that allows the tiny model and names columns and labels; its limit is enough for a run or two."""
    tables: dict[str, dict[str, Any]] = {
        "data": {"name": "ward-7", "text": TEXT, "label": LABEL, "labels": list(LABELS), "holdout": 0.25},
        "allow": {"models": {str(model): base_model.fingerprint(str(model))}},
        "privacy": {"epsilon": 20.0},
    }
    for table, words in changed.items():
        tables[table] = {**tables.get(table, {}), **words}
    lines = []
    for table, words in tables.items():
        lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in words.items() if value is not None)]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def assert_tells_nothing(reply: Reply, node: Node, *sent: str) -> None:
    """No cell, other column, path or file name of the node is in the reply; `sent` are the server's own words."""
    found = reply.everything
    cells = {str(row[column]) for row in node.rows for column in (TEXT, "ssn", "patient")} | {UNLISTED}
    names = {*COLUMNS, str(node.folder), node.data.name, str(node.data), "node.toml", "Traceback"}
    told = [word for word in (cells | names) - set(sent) if word and word in found]
    assert not told, (told, reply)


def header(payload: bytes) -> bytes:
    """A payload's header, which nothing noises."""
    return payload[: HEADER.size]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return toml(value)
