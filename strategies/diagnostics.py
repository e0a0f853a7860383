"""What the clients of a round selected and learned, compared with each other: a line of ``pictures.jsonl``.

Comparing K whole updates would need all of them at once. Each is folded into WIDTH numbers instead (a count
sketch: a random place and a random sign for every value): inner products of folded vectors are those of the
whole ones on average, with a standard error of about 1/√WIDTH (0.03) of the lengths' product, where no handful
of values has most of the length. Diagnostics are made of what reaches the server: of FedSA's B they can say nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import FACTORS, Layout, Part, Parts, Vector
from bract.wire.payload import Payload

WIDTH = 1024
MOST = 64  # clients that are compared, those with the lowest partition ids: a matrix of all would grow with the square

Folded = NDArray[np.float64]


class Diagnostics:
    """Takes the replies of one round; memory is WIDTH numbers a client and factor, for MOST clients."""

    def __init__(self, layout: Layout, before: Parts, seed: int) -> None:
        self._layout = layout
        self._places = {part: _places(seed, layout.size(part)) for part in FACTORS}
        self._before = before
        self._changes: dict[int, dict[Part, Folded]] = {}
        self._slots: dict[int, NDArray[np.int64]] = {}

    def add(self, partition: int, payload: Payload, *, changes: bool) -> None:
        """Take in what one client sent: values, or changes of what the server had; the rest is no change."""
        if len(self._changes) >= MOST:
            highest = max(self._changes)
            if partition > highest:
                return
            del self._changes[highest], self._slots[highest]
        self._slots[partition] = np.arange(self._layout.slots) if payload.slots is None else payload.slots
        self._changes[partition] = {}
        for part in FACTORS:
            if part in payload.parts:
                change = payload.parts[part]
                if not changes:
                    change = change - self._layout.cut(part, self._before[part], payload.slots)
                whole = self._layout.whole(part, change, payload.slots)
                self._changes[partition][part] = self._fold(part, whole)

    def row(self, round_: int) -> dict[str, Any]:
        """The round's diagnostics. Matrices are in the order of `clients`.

        `update_similarity`: cosine of clients' changes. `distance`: ‖x_j − x_k‖ over the mean ‖x‖.
        `slots`: what each sent, and `slot_overlap`: |S_j ∩ S_k| / |S_j ∪ S_k|, where not all sent all.
        """
        clients = sorted(self._changes)
        row: dict[str, Any] = {"round": round_, "clients": clients}
        row["ranks"] = [round(len(self._slots[c]) / len(self._layout.modules), 4) for c in clients]
        for part in FACTORS:
            if clients and all(part in self._changes[c] for c in clients):
                changes = np.stack([self._changes[c][part] for c in clients])
                row[f"update_similarity_{part}"] = _plain(_cosines(changes))
                row[f"distance_{part}"] = _plain(_distances(changes + self._fold(part, self._before[part])))
        if any(len(slots) != self._layout.slots for slots in self._slots.values()):
            sent = np.zeros((len(clients), self._layout.slots))
            for i, client in enumerate(clients):
                sent[i, self._slots[client]] = 1
            both = sent @ sent.T
            sizes = sent.sum(1)
            row["slot_overlap"] = _plain(both / np.maximum(sizes[:, None] + sizes[None, :] - both, 1))
            row["slots"] = [self._slots[c].tolist() for c in clients]
        return row

    def _fold(self, part: Part, vector: Vector) -> Folded:
        places = self._places[part]  # twice as many: the second half takes the values whose sign is turned
        both = np.bincount(places, weights=vector, minlength=2 * WIDTH)
        return np.asarray(both[:WIDTH] - both[WIDTH:])


def _places(seed: int, size: int) -> NDArray[np.int16]:
    return np.random.default_rng([seed, 6]).integers(0, 2 * WIDTH, size, dtype=np.int16)


def _cosines(rows: Folded) -> Folded:
    lengths = np.linalg.norm(rows, axis=1)
    unit = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    return np.asarray(np.clip(unit @ unit.T, -1, 1))


def _distances(rows: Folded) -> Folded:
    lengths = np.linalg.norm(rows, axis=1)
    squares = lengths[:, None] ** 2 + lengths[None, :] ** 2 - 2 * rows @ rows.T
    np.fill_diagonal(squares, 0)
    return np.asarray(np.sqrt(np.maximum(squares, 0)) / max(float(lengths.mean()), 1e-30))


def _plain(matrix: Folded) -> list[list[float]]:
    return [[round(float(x), 4) for x in row] for row in matrix]
