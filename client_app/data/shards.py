"""Tokenised shards in a file that all workers of a simulation map: texts are read and tokenised by one of them.

The file is its owner's alone, under the home folder's `tokens`, and of one run: no other uses it. `bract run` deletes
it when the run has ended; of runs by other commands the last few stay. A node's data is never written here.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bract.files import replacing
from bract.tasks.task import Examples, Outputs

KEPT = 4  # files of so many runs


@dataclass(frozen=True)
class Shard:
    """A client's tokenised examples."""

    train: Examples
    holdout: Examples


@dataclass(frozen=True)
class Shared:
    """What the head is to give, and every client's shard."""

    outputs: Outputs
    shards: Sequence[Shard]


class Packed(Sequence[NDArray[np.int32]]):
    """Texts' tokens, one after the other in one array; a text is a view of it."""

    def __init__(self, tokens: NDArray[np.int32], ends: NDArray[np.int64], first: int, last: int) -> None:
        self._tokens, self._ends, self._first, self._last = tokens, ends, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> NDArray[np.int32]:  # type: ignore[override]  # of one text; no slices
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        text = self._first + index % len(self)
        return self._tokens[self._ends[text] : self._ends[text + 1]]


def write(path: Path, outputs: Outputs, shards: Iterable[Shard]) -> None:
    """Write what `read` gives. No other process may be writing into this folder."""
    tokens, lengths, targets, counts, persons = [], [], [], [], []
    for shard in shards:
        for part in (shard.train, shard.holdout):
            tokens.append(np.concatenate([np.zeros(0, np.int32), *part.tokens]))
            lengths.append(np.array([len(ids) for ids in part.tokens], dtype=np.int64))
            targets.append(part.targets)
            counts.append(len(part))
            persons.append(np.zeros(0, np.int64) if part.persons is None else part.persons)
    arrays = {
        "tokens": np.concatenate(tokens),
        "ends": np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        "targets": np.concatenate(targets),
        "counts": np.array(counts, dtype=np.int64),
        "persons": np.concatenate(persons),
    }
    told = {"outputs": json.dumps(asdict(outputs))}
    for left in path.parent.glob(".*"):  # by a writer that was killed
        left.unlink(missing_ok=True)
    with replacing(path) as temporary:
        save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, temporary, metadata=told)
    files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns)
    for old in files[:-KEPT]:  # whoever has it mapped keeps what he has
        old.unlink(missing_ok=True)


def read(path: Path, clients: int) -> Shared | None:
    """What is in a file, mapped; None where there is none, or one that is broken."""
    try:
        with safe_open(path, framework="pt") as file:  # for torch it maps the file, for NumPy it copies
            told = file.metadata() or {}
            outputs = _outputs(json.loads(told["outputs"]))
            tokens, ends, targets, counts, persons = (
                file.get_tensor(name).numpy() for name in ("tokens", "ends", "targets", "counts", "persons")
            )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    bounds = np.concatenate([[0], np.cumsum(counts)])
    whole = len(counts) == 2 * clients and (counts >= 0).all() and bounds[-1] == len(targets) == len(ends) - 1
    whole = whole and len(persons) in (0, len(targets))
    if not (whole and ends[0] == 0 and (np.diff(ends) >= 0).all() and ends[-1] == len(tokens)):
        return None
    spans = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    parts = [
        Examples(Packed(tokens, ends, *span), targets[slice(*span)], persons[slice(*span)] if len(persons) else None)
        for span in spans
    ]
    return Shared(outputs, [Shard(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)])


def _outputs(value: dict[str, Any]) -> Outputs:
    return Outputs(int(value["size"]), tuple(value["names"]), tuple(value["descriptions"]))
