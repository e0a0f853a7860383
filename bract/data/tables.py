"""Labelled texts: from the demo, a file or the hub; as plain columns."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.settings.schema import DataSettings

# Label names leave the device: a column that was named by mistake, of texts or of ids, must not.
MOST_LABELS, LONGEST_LABEL = 1000, 200

READABLE = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Table:
    """Examples in file order. `group` is the natural client column, where one was asked for."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    group: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class LabelSet:
    """The classes, in the order of the head's rows, and what each is called in words."""

    names: tuple[str, ...]
    descriptions: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the descriptions, to compare without sending them."""
        return hashlib.sha256(json.dumps(list(self.descriptions)).encode()).hexdigest()[:16]


def natural_column(settings: DataSettings) -> str:
    """The column that `data.partition` splits by, or nothing."""
    if settings.partition == "auto":
        return "branch" if settings.source == "demo" else ""
    kind, _, column = settings.partition.partition(":")
    return column if kind == "natural" else ""


def identity(settings: DataSettings) -> str:
    """The data's own name, whatever else is set: a file by where it really lies, not by how it is spelled."""
    kind, _, place = settings.source.partition(":")
    return f"file:{Path(place).resolve()}" if kind == "file" else settings.source


def stamp(settings: DataSettings) -> tuple[tuple[int, int], ...]:
    """Tells whether the files that the data is read from are still the same: their times and sizes."""
    named = [settings.source.removeprefix("file:")] if settings.source.startswith("file:") else []
    found = [Path(name).stat() for name in (*named, settings.labels) if name and Path(name).is_file()]
    return tuple((state.st_mtime_ns, state.st_size) for state in found)


def load(settings: DataSettings, seed: int) -> Table:
    """All training examples that `data.source` names."""
    column = natural_column(settings)
    kind, _, place = settings.source.partition(":")
    if kind == "node":
        raise BractError("data.source = 'node': the data is at the nodes; name a file like theirs to plan or simulate")
    if kind == "demo":
        from bract.data.demo import generator

        examples = generator.make(seed=seed)
        if column not in ("", "branch"):
            raise BractError(f"data.partition: the demo has no column {column!r}; it has branch")
        return Table(
            tuple(e.text for e in examples),
            tuple(e.label for e in examples),
            tuple(e.branch for e in examples),
        )
    rows = from_hub(place) if kind == "hub" else read_rows(Path(place), "data.source")
    return table(rows, settings, settings.source, column)


def table(rows: Mapping[str, Sequence[Any]], settings: DataSettings, place: str, group: str = "") -> Table:
    """Pick the columns that the settings name; a missing one is an error that lists what is there."""
    wanted = {"data.text": settings.text, "data.label": settings.label}
    if group:
        wanted["data.partition"] = group
    for key, name in wanted.items():
        if name not in rows:
            raise BractError(f"{key} = {name!r}: {place} has no such column; it has {', '.join(rows) or 'none'}")
    texts = [_text(value) for value in rows[settings.text]]
    labels = [_text(value) for value in rows[settings.label]]
    groups = [_text(value) for value in rows[group]] if group else []
    keep = [
        i
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
        if text and label and (not group or groups[i])
    ]
    if not keep:
        raise BractError(f"{place} holds no row with both a text and a label")
    return Table(
        tuple(texts[i] for i in keep),
        tuple(labels[i] for i in keep),
        tuple(groups[i] for i in keep) if group else (),
    )


def load_test(settings: DataSettings, names: Sequence[str]) -> Table:
    """The server's test file, every label of which training must know."""
    test = table(read_rows(Path(settings.test), "data.test"), settings, settings.test)
    unknown = sorted(set(test.labels) - set(names))
    if unknown:
        raise BractError(f"data.test: {settings.test} has labels that training never saw: {', '.join(unknown[:5])}")
    return test


def label_set(settings: DataSettings, data: Table) -> LabelSet:
    """The classes: of `data.labels` in its order, else those of the data, sorted."""
    if settings.labels:
        names, descriptions = _read_labels(Path(settings.labels))
        unknown = sorted(set(data.labels) - set(names))
        if unknown:
            raise BractError(f"data.labels: {settings.labels} lacks labels that the data has: {', '.join(unknown[:5])}")
        return LabelSet(names, descriptions)
    names = tuple(sorted(set(data.labels)))
    if len(names) > max(2, min(MOST_LABELS, len(data) // 3)) or max(map(len, names)) > LONGEST_LABEL:
        raise BractError(
            f"data.label = {settings.label!r}: {len(names)} different values in {len(data)} rows, the longest of "
            f"{max(map(len, names))} characters, look like no labels; if they are, list them in data.labels"
        )
    if settings.source == "demo":
        from bract.data.demo import generator

        return LabelSet(names, tuple(described(name, generator.LABELS[name]) for name in names))
    return LabelSet(names, tuple(in_words(name) for name in names))


def in_words(name: str) -> str:
    """A label's name as text: `card_arrival` becomes `card arrival`."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def described(name: str, description: str) -> str:
    """What stands for a label where its embedding starts the head: name and description together.

    On the demo that is right more often, untrained, than the name or the description alone.
    """
    return f"{in_words(name)}: {description}" if description else in_words(name)


def read_rows(path: Path, key: str) -> dict[str, list[Any]]:
    """The columns of a CSV, JSONL or Parquet file. Every fault names the setting and the line."""
    if path.suffix.lower() not in READABLE:
        raise BractError(f"{key}: {path} should end in {', '.join(READABLE)}")
    if not path.is_file():
        raise BractError(f"{key}: there is no file {path}")
    try:
        return {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()](path)
    except UnicodeDecodeError as error:
        raise BractError(f"{key}: {path} is not UTF-8 text ({error.reason})") from error
    except (ValueError, OSError) as error:
        raise BractError(f"{key}: {path} cannot be read: {error}") from error


def _csv(path: Path) -> dict[str, list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restkey="", strict=True)
        try:
            rows, names = list(reader), list(reader.fieldnames or [])
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    for number, row in enumerate(rows, start=1):
        if ("" in row and "" not in names) or None in row.values():
            raise ValueError(f"record {number} does not have {len(names)} fields")
    return {name: [row[name] for row in rows] for name in names}


def _jsonl(path: Path) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(path: Path) -> dict[str, list[Any]]:
    from pyarrow import parquet

    columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    return columns


def from_hub(name: str, split: str = "train") -> dict[str, list[Any]]:
    """The columns of a data set's split; classes by their names."""
    from datasets import ClassLabel, load_dataset

    try:
        data = load_dataset(name, split=split)
        columns: dict[str, list[Any]] = data.to_dict()
        for column, feature in data.features.items():
            if isinstance(feature, ClassLabel):  # -1 stands for a row without a label
                columns[column] = [None if v in (None, -1) else feature.int2str(v) for v in columns[column]]
    except (OSError, ValueError, RuntimeError) as error:
        raise BractError(f"data.source: cannot load {name!r}, {split}, from the hub: {error}") from error
    return columns


def _read_labels(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BractError(f"data.labels: {path} cannot be read as JSON: {error}") from error
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value), "")
    if not isinstance(value, dict) or not all(isinstance(v, str) for kv in value.items() for v in kv):
        raise BractError(f"data.labels: {path} should hold a list of names, or names with descriptions")
    return tuple(value), tuple(described(name, text) for name, text in value.items())


def _text(value: Any) -> str:
    """A cell as text. 3 and 3.0 are one label: a column with gaps turns whole numbers into floats."""
    if value is None or value != value:  # NaN is what is not itself
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
