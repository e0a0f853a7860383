"""What a board runs on: a folder with train.csv, test.csv and labels.json, made of a hub's data set or there."""

import csv
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bract.data.tables import from_hub, table
from bract.errors import BractError
from bract.settings.read import read
from bract.settings.schema import DataSettings
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Table

FILES = ("train.csv", "test.csv", "labels.json")


def folder(data: str, into: Path, board: Mapping[str, Any]) -> str:
    """The absolute place of `--data`; a hub's train and test splits are written to a folder of their own in `into`."""
    kind, _, name = data.partition(":")
    if kind != "hub":
        return str(Path(data).resolve()) if data else ""
    read({"data.source": data})  # it says so where this is no name
    settings = columns(board)
    made = into / re.sub(r"\W", "-", name)
    parts = {
        split: table(from_hub(name, split), settings, CLASSIFICATION, f"{data}, {split}") for split in ("train", "test")
    }
    made.mkdir()
    for split, part in parts.items():
        _write(made / f"{split}.csv", part, settings)
    labels = sorted({label for part in parts.values() for label in part.columns["label"]})
    (made / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return str(made)


def columns(values: Mapping[str, Any], test: str = "") -> DataSettings:
    """How the files are read: the columns' names as set, and a test file."""
    usual = DataSettings()
    text, label = (str(values.get(f"data.{key}", name)) for key, name in (("text", usual.text), ("label", usual.label)))
    return DataSettings(text=text, label=label, test=test)


def _write(path: Path, part: Table, settings: DataSettings) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow([settings.text, settings.label])
        out.writerows(zip(part.columns["text"], part.columns["label"], strict=True))


def digest(data: str) -> str:
    """Which data it is, without saying where."""
    if not data:
        return "demo"
    try:
        whole = b"".join((Path(data) / name).read_bytes() for name in FILES)
    except OSError as error:
        names = f"{', '.join(FILES[:2])} and {FILES[2]}"
        raise BractError(f"--data {data}: should hold {names} ({error.strerror})") from error
    return f"{Path(data).name}-{hashlib.sha256(whole).hexdigest()[:12]}"


def source(data: str) -> dict[str, str]:
    """The settings that name the data."""
    return {"data.source": f"file:{data}/train.csv", "data.labels": f"{data}/labels.json"} if data else {}
