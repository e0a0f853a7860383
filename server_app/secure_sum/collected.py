"""A round's words once it is fixed whose they are: on disk before anybody is asked to help with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bract.errors import BractError
from bract.files import replacing
from bract.privacy.spending import PrivacySpending
from bract.secure_sum.vector import Shape, Words


@dataclass(frozen=True)
class Collected:
    """A round whose survivors are fixed: their words, and what became of each client."""

    number: int
    print: bytes  # of its set-up
    survivors: tuple[int, ...]
    words: Words
    context: bytes
    rows: list[dict[str, Any]]
    memory: Mapping[str, Any]
    measured: tuple[PrivacySpending, ...] = ()

    def save(self, path: Path) -> None:
        """Before anybody is asked to help with it."""
        told = {
            "number": self.number,
            "print": self.print.hex(),
            "survivors": self.survivors,
            "rows": self.rows,
            "memory": dict(self.memory),
            "measured": [one.to_json() for one in self.measured],
        }
        arrays = {
            "values": self.words.values,
            "figures": self.words.figures,
            "context": np.frombuffer(self.context, dtype=np.uint8),
        }
        with replacing(path) as temporary:
            save_file(arrays, temporary, metadata={"bract": json.dumps(told)})

    @staticmethod
    def load(path: Path, number: int, print_: bytes, shape: Shape) -> "Collected | None":
        """The one of this number and set-up, if its survivors were fixed."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                told = json.loads((file.metadata() or {})["bract"])
                if (told["number"], told["print"]) != (number, print_.hex()):
                    return None
                words = Words(shape, file.get_tensor("values"), file.get_tensor("figures"))
                context = file.get_tensor("context").tobytes()
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise BractError(f"run.resume: {path} is damaged: {error}") from error
        measured = tuple(PrivacySpending.from_json(one) for one in told["measured"])
        survivors = tuple(told["survivors"])
        return Collected(number, print_, survivors, words, context, told["rows"], told["memory"], measured)
