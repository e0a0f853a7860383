"""Tables of examples: from the demo, a file or the hub; as plain columns."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bract.data.demo import generator
from bract.errors import BractError
from bract.settings.schema import DataSettings
from bract.tasks.task import Outputs, Table, Task


@dataclass(frozen=True)
class Cells:
    """All rows of the columns that are needed: the task's, by its own names of them, and two that are not its own."""

    columns: Mapping[str, Sequence[str]]
    group: Sequence[str] = ()  # the natural client column
    users: Sequence[str] = ()  # whose a row is

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def persons(self) -> int:
        """How many there are; a row without a user is a person by itself."""
        return len({user for user in self.users if user}) + sum(not user for user in self.users)


LONGEST_CELL = 1 << 30
READABLE = (".csv", ".jsonl", ".parquet")


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
    named += [settings.labels] if settings.labels.startswith("/") else []  # else it holds the names themselves
    found = [Path(name).stat() for name in named if Path(name).is_file()]
    return tuple((state.st_mtime_ns, state.st_size) for state in found)


def load(settings: DataSettings, seed: int, task: Task) -> Table:
    """All training examples that `data.source` names."""
    column = natural_column(settings)
    kind, _, place = settings.source.partition(":")
    if kind == "node":
        raise BractError("data.source = 'node': the data is at the nodes; name a file like theirs to plan or simulate")
    if kind == "demo":
        if column not in ("", "branch"):
            raise BractError(f"data.partition: the demo has no column {column!r}; it has branch")
        return _demo(seed, task)
    rows = from_hub(place) if kind == "hub" else read_rows(Path(place), "data.source")
    return table(rows, settings, task, settings.source, column)


def load_own(settings: DataSettings, task: Task) -> tuple[Table, Cells]:
    """A node's own examples, and the cells of all its rows, used or not.

    A row that cannot be used is left out and counts all the same: that one is broken must be seen by nobody.
    """
    path = Path(settings.source.removeprefix("file:"))
    cells = cells_of(read_rows(path, "data.source", lenient=True), settings, task, str(path))
    return of_cells(cells, task), cells


def described(settings: DataSettings) -> Mapping[str, str]:
    """What the source itself says of its labels: the demo's descriptions."""
    return generator.LABELS if settings.source == "demo" else {}


def table(rows: Mapping[str, Sequence[Any]], settings: DataSettings, task: Task, place: str, group: str = "") -> Table:
    """Pick the columns that the task needs; a missing one is an error that lists what is there."""
    cells = cells_of(rows, settings, task, place, group)
    found = of_cells(cells, task)
    if not len(found):
        raise BractError(f"{place} holds no row with {' and '.join(cells.columns)}")
    return found


def cells_of(
    rows: Mapping[str, Sequence[Any]], settings: DataSettings, task: Task, place: str, group: str = ""
) -> Cells:
    """The columns that are needed, as text; a missing one is an error."""
    columns = task.columns(settings)
    wanted = {f"data.{name}": column for name, column in columns.items()}
    wanted |= {"data.partition": group} if group else {}
    wanted |= {"data.user": settings.user} if settings.user else {}
    for key, name in wanted.items():
        if name not in rows:
            raise BractError(f"{key} = {name!r}: {place} has no such column; it has {', '.join(rows) or 'none'}")

    def texts(name: str) -> list[str]:
        return [_text(value) for value in rows[name]] if name else []

    return Cells({name: texts(column) for name, column in columns.items()}, texts(group), texts(settings.user))


def of_cells(cells: Cells, task: Task) -> Table:
    """The rows that the task can use, and that have a group where one is asked for."""
    keep = [i for i in task.usable(cells.columns) if not cells.group or cells.group[i]]
    columns = {name: tuple(texts[i] for i in keep) for name, texts in cells.columns.items()}
    group, users = (tuple(texts[i] for i in keep) if texts else () for texts in (cells.group, cells.users))
    return Table(columns, columns[task.classes] if task.classes else (), group, users)


def load_test(settings: DataSettings, task: Task, outputs: Outputs) -> Table:
    """The server's test file, all of which the model must be able to answer."""
    test = table(read_rows(Path(settings.test), "data.test"), replace(settings, user=""), task, settings.test)
    unknown = sorted(set(range(len(test))) - set(task.known(test, outputs).tolist()))
    if unknown:
        names = sorted(
            {test.classes[row] for row in unknown} if test.classes else {f"row {row + 1}" for row in unknown}
        )
        raise BractError(f"data.test: {settings.test} has labels that training never saw: {', '.join(names[:5])}")
    return test


def _demo(seed: int, task: Task) -> Table:
    examples = generator.make(seed=seed)
    cells = {"text": [e.text for e in examples], "label": [e.label for e in examples]}
    lacking = set(task.columns(DataSettings())) - set(cells)
    if lacking:
        raise BractError(f"data.source = 'demo': the demo has no {' and no '.join(sorted(lacking))}; name a file")
    return of_cells(Cells(cells, [e.branch for e in examples]), task)


def read_rows(path: Path, key: str, *, lenient: bool = False) -> dict[str, list[Any]]:
    """The columns of a CSV, JSONL or Parquet file. Every fault names the setting and the line.

    Where it is `lenient`, a row that is broken is a row of nothing.
    """
    if path.suffix.lower() not in READABLE:
        raise BractError(f"{key}: {path} should end in {', '.join(READABLE)}")
    if not path.is_file():
        raise BractError(f"{key}: there is no file {path}")
    try:
        return {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()](path, lenient)
    except UnicodeDecodeError as error:
        raise BractError(f"{key}: {path} is not UTF-8 text ({error.reason})") from error
    except (ValueError, OSError) as error:
        raise BractError(f"{key}: {path} cannot be read: {error}") from error


def _csv(path: Path, lenient: bool) -> dict[str, list[Any]]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open(newline="", encoding="utf-8-sig", errors="replace" if lenient else None) as file:
        reader = csv.DictReader(file, restkey="", strict=not lenient)
        try:
            rows, names = list(reader), list(reader.fieldnames or [])
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    for number, row in enumerate(rows, start=1):
        if ("" in row and "" not in names) or None in row.values():
            if not lenient:
                raise ValueError(f"record {number} does not have {len(names)} fields")
            row.update(dict.fromkeys(names))
    return {name: [row[name] for row in rows] for name in names}


def _jsonl(path: Path, lenient: bool) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig", errors="replace" if lenient else None) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not lenient:
                    raise ValueError(f"line {number} is not JSON") from error
                row = {}
            if not isinstance(row, dict):
                if not lenient:
                    raise ValueError(f"line {number} is not a JSON object")
                row = {}
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(path: Path, lenient: bool) -> dict[str, list[Any]]:
    from pyarrow import parquet

    columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    return columns


def from_hub(name: str, split: str = "train") -> dict[str, list[Any]]:
    """The columns of a data set's split; classes by their names."""
    from datasets import ClassLabel, load_dataset

    try:
        data = load_dataset(name, split=split)  # nosec B615 # a table, no code; the settings name it
        columns: dict[str, list[Any]] = data.to_dict()
        for column, feature in data.features.items():
            if isinstance(feature, ClassLabel):  # -1 stands for a row without a label
                columns[column] = [None if v in (None, -1) else feature.int2str(v) for v in columns[column]]
    except (OSError, ValueError, RuntimeError) as error:
        raise BractError(f"data.source: cannot load {name!r}, {split}, from the hub: {error}") from error
    return columns


def _text(value: Any) -> str:
    """A cell as text. 3 and 3.0 are one label: a column with gaps turns whole numbers into floats.

    Half a character (a lone surrogate, which JSON can write) is a question mark: no tokenizer takes it.
    """
    if value is None or value != value:  # NaN is what is not itself
        return ""
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
