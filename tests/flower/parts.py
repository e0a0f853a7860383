"""What the doors say that they use of Flower's private parts, and what is no longer there."""

import ast
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOORS = tuple(ROOT / room / "flower" for room in ("bract", "client_app", "tests"))
ROW = re.compile(r"^    (flwr(?:\.\w+)+)\.(\w+) +(\S.*)$", re.MULTILINE)
UNIMPORTED = "Relied on without an import:"  # what stands below it in a door's list


@dataclass(frozen=True)
class Part:
    """One private part: where it is, what Bract relies on it for, and whether a file behind the door imports it."""

    door: Path
    module: str
    attribute: str
    used_for: str
    imported: bool

    @property
    def name(self) -> str:
        """All of its name."""
        return f"{self.module}.{self.attribute}"

    def __str__(self) -> str:
        door = self.door.relative_to(ROOT)
        return f"flwr {version('flwr')}: {self.name}, on which {door} relies for: {self.used_for}"

    def find(self) -> Any:
        """The part itself."""
        return getattr(import_module(self.module), self.attribute)


def parts() -> list[Part]:
    """All that the doors list, without an import of theirs."""
    found = []
    for door in DOORS:
        text = ast.get_docstring(ast.parse((door / "__init__.py").read_text()), clean=False) or ""
        border = text.find(UNIMPORTED)
        for row in ROW.finditer(text):
            found.append(Part(door, row[1], row[2], row[3], border < 0 or row.start() < border))
    return found


def gone() -> list[str]:
    """A line for each part that the installed Flower does not have."""
    lines = []
    for part in parts():
        try:
            part.find()
        except (ImportError, AttributeError) as error:
            lines.append(f"{part}: {error}")
    return lines
