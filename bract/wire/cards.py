"""What a client says of itself before any training: who it is, and what all clients must have in common."""

import json
from dataclasses import dataclass, fields
from typing import Any

from bract.adapter.layout import Layout
from bract.errors import BractError
from bract.version import version

LONGEST = 4 << 20  # characters of a card; one with a thousand labels has some 50,000

# What clients must agree on, and how a disagreement is called.
MUST_AGREE = {
    "version": "Bract version",
    "task": "task",
    "base": "base model",
    "layout": "adapter layout",
    "labels": "list of labels",
    "descriptions": "set of label descriptions",
    "outputs": "size of the head",
    "pooling": "pooling",
    "head_init": "start of the head",
    "partitions": "num-partitions",
}


@dataclass(frozen=True)
class ClientCard:
    """Who a client is and what it would train. Nothing here is a number or a text of its examples but label names."""

    partition: int
    partitions: int
    rank: float | None  # what its device carries, where its operator says so
    version: str
    base: str  # fingerprint of the base model's weights
    layout: Layout
    task: str
    outputs: int  # numbers that the head gives
    labels: tuple[str, ...]  # names of these, where they have names
    descriptions: str  # digest of the labels' descriptions
    pooling: str
    head_init: str

    def to_text(self) -> str:
        """As it travels."""
        return json.dumps(self.plain())

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.__dict__, "labels": list(self.labels), "layout": self.layout.to_json()}

    @staticmethod
    def from_text(text: str) -> "ClientCard":
        """What a client sent. Anything but a card is a BractError that says why."""
        if len(text) > LONGEST:
            raise BractError(f"it has {len(text)} bytes")
        value = json.loads(text)
        if str(value["version"]) != version() and not value.keys() >= {field.name for field in fields(ClientCard)}:
            raise BractError(f"it is of Bract {value['version']!s:.40}, this is {version()}")
        card = ClientCard(
            partition=int(value["partition"]),
            partitions=int(value["partitions"]),
            rank=None if value["rank"] is None else float(value["rank"]),
            version=str(value["version"]),
            base=str(value["base"]),
            layout=Layout.from_json(value["layout"]),
            task=str(value["task"]),
            outputs=int(value["outputs"]),
            labels=tuple(str(label) for label in value["labels"]),
            descriptions=str(value["descriptions"]),
            pooling=str(value["pooling"]),
            head_init=str(value["head_init"]),
        )
        if card.pooling not in ("native", "mean", "cls") or card.head_init not in ("random", "labels"):
            raise BractError("it names an unknown kind of head")
        if not 1 <= card.outputs < 1 << 24 or len(card.labels) not in (0, card.outputs):
            raise BractError("the size of its head is out of bounds, or not that of its labels")
        if card.rank is not None and not 0 < card.rank <= 4096:
            raise BractError("its rank is out of bounds")
        if not 0 <= card.partition < card.partitions:
            raise BractError(f"partition-id {card.partition} of {card.partitions}")
        return card

    def agreed(self, key: str) -> str:
        """What `MUST_AGREE` compares, as text."""
        return json.dumps(self.plain()[key])
