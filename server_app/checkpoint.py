"""The newest complete round, in one file that is replaced in one step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bract.adapter.layout import PARTS, Layout, Parts
from bract.errors import BractError
from bract.files import replacing
from strategies.server_optimizer import Moments

VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """All that the server needs to go on: round, factors, the federation's name, the strategy's memory."""

    round: int
    federation: str
    layout: Layout
    parts: Parts
    identity: Mapping[str, Any]
    memory: Mapping[str, Any] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)

    def save(self, path: Path) -> None:
        """Replace the last one. A process killed at any moment leaves the old or the new one."""
        meta = {
            "version": VERSION,
            "round": self.round,
            "federation": self.federation,
            "layout": self.layout.to_json(),
            "identity": dict(self.identity),
            "memory": dict(self.memory),
            "steps": dict(self.moments.steps),
        }
        arrays = {str(name): value for name, value in self.parts.items()}
        arrays |= {f"first.{name}": value for name, value in self.moments.first.items()}
        arrays |= {f"second.{name}": value for name, value in self.moments.second.items()}
        with replacing(path) as temporary:
            save_file(arrays, temporary, metadata={"bract": json.dumps(meta)})

    @staticmethod
    def load(path: Path) -> "Checkpoint":
        """Read what `save` wrote."""
        if not path.is_file():
            raise BractError(f"run.resume: {path.parent.parent} has no complete round to go on from")
        try:
            with safe_open(path, framework="numpy") as file:
                meta = json.loads((file.metadata() or {}).get("bract", "{}"))
                if meta.get("version") != VERSION:
                    raise BractError(f"run.resume: {path} is of another version of Bract")
                names = set(file.keys())
                parts, first, second = (
                    {part: file.get_tensor(before + part) for part in PARTS if before + part in names}
                    for before in ("", "first.", "second.")
                )
        except (SafetensorError, OSError, ValueError) as error:
            raise BractError(f"run.resume: {path} is damaged: {error}") from error
        layout = Layout.from_json(meta["layout"])
        moments = Moments(first, second, meta.get("steps", {}))
        return Checkpoint(
            int(meta["round"]), str(meta["federation"]), layout, parts, meta["identity"], meta["memory"], moments
        )

    def require(self, identity: Mapping[str, Any], layout: Layout) -> None:
        """Refuse to go on with other clients, labels or another base model than the run began with."""
        for key, value in identity.items():
            now, before = json.dumps(value), json.dumps(self.identity.get(key))
            if now != before:
                raise BractError(f"run.resume: {key} is {now[:150]}, the run began with {before[:150]}")
        if self.layout != layout:
            raise BractError(
                f"run.resume: the run's layout is {self.layout.fingerprint.hex()}, the clients have "
                f"{layout.fingerprint.hex()}"
            )


@dataclass(frozen=True)
class Pending:
    """A round that was merged and of which nothing has left yet.

    Noise that the server has drawn must not be drawn again for the same round: whoever saw two results could
    average them. So the result is on disk before anyone is told of it, and a run that goes on takes it up.
    """

    after: Checkpoint
    clients: list[dict[str, Any]]
    metrics: dict[str, Any]
    diagnostics: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write it beside the checkpoint."""
        rows = {"clients": self.clients, "metrics": self.metrics, "diagnostics": self.diagnostics}
        memory = {"after": dict(self.after.memory), **rows}
        replace(self.after, memory=memory).save(path)

    @staticmethod
    def load(path: Path, before: Checkpoint) -> "Pending | None":
        """What follows this checkpoint, if it was merged already."""
        if not path.is_file():
            return None
        found = Checkpoint.load(path)
        if (found.round, found.federation) != (before.round + 1, before.federation):
            return None
        rows = dict(found.memory)
        return Pending(replace(found, memory=rows.pop("after")), **rows)
