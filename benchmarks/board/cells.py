"""What a board asks: its file, and the runs that answer it."""

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.settings.flat import flatten
from bract.settings.read import read

Values = Mapping[str, Any]
Found = Mapping[str, Values]  # rows that are known, by key
ALONE = "alone"  # in a row's settings: no federation, every client by itself


@dataclass(frozen=True)
class Cell:
    """One run: all that it needs, and so all that its row is known by."""

    settings: Values
    seed: int
    nodes: int
    tested: bool  # on the test file; never while tuning

    @property
    def key(self) -> str:
        """The same for the same run, whichever question asked for it."""
        told = [dict(sorted(self.settings.items())), self.seed, self.nodes, self.tested]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Question:
    """Rows of settings against columns of settings."""

    name: str
    asks: str
    answer: str
    rows: Mapping[str, Values]
    columns: Mapping[str, Values]
    rates: Mapping[str, str]  # a column that takes the rates of another, for every row alike
    places: Mapping[tuple[str, str], Values]  # what a row says otherwise in one column
    personal: bool = False  # of each client's own model, on its own mix of labels and on all


@dataclass(frozen=True)
class Board:
    """The whole of it."""

    name: str
    about: str
    limits: str
    bytes: str  # what all places together say of bytes
    nodes: int
    settings: Values
    tuning_seed: int
    grid: Sequence[Values]
    private_grid: Sequence[Values]
    private_then: Sequence[Values]  # tried at the best of the private grid
    seeds: Sequence[int]
    questions: Sequence[Question]

    @staticmethod
    def load(path: Path, own: Values | None = None) -> "Board":
        """Read a board, with one's own settings instead of its; all combinations are checked before any is run."""
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
            tuning = value["tuning"]
            grid = _grid(flatten(tuning["grid"]))
            board = Board(
                name=path.stem,
                about=" ".join(value.get("about", "").split()),
                limits=value.get("limits", "").strip(),
                bytes=value.get("bytes", "").strip(),
                nodes=int(value["nodes"]),
                settings={**flatten(value["settings"]), **(own or {})},
                tuning_seed=int(tuning["seed"]),
                grid=grid,
                private_grid=_grid(flatten(tuning["private"])) if "private" in tuning else grid,
                private_then=_grid(flatten(tuning["then"])) if "then" in tuning else [],
                seeds=[int(seed) for seed in value["test"]["seeds"]],
                questions=[_question(told) for told in value["question"]],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BractError(f"{path} is no board: {type(error).__name__}: {error}") from error
        if any(one == {**one, **more} for one in board.private_grid for more in board.private_then):
            raise BractError(f"{path}: tuning.then has what tuning.private tries already")
        board._check_settings(path, own or {})
        if board.tuning_seed in board.seeds:
            raise BractError(f"{path}: tuning.seed = {board.tuning_seed} is among test.seeds")
        for question, row, column in board.places():
            if board.private(question, row, column) and board.of(question, row, column).get(ALONE):
                raise BractError(f"{path}: {question.name}, {row}, {column}: alone is without privacy")
            if board.of(question, row, column).get("data.holdout") == 0:
                raise BractError(
                    f"{path}: {question.name}, {row}, {column}: data.holdout = 0 leaves nothing to tune by"
                )
            for point in board.all_points(question, row, column):
                try:
                    read({k: v for k, v in {**board.of(question, row, column), **point}.items() if k != ALONE})
                except BractError as error:
                    raise BractError(f"{path}: {question.name}, {row}, {column}: {error}") from error
        return board

    def _check_settings(self, path: Path, own: Values) -> None:
        """What is named elsewhere is not named here; what a question sets is not set otherwise from outside."""
        for key in self.settings:
            if key in ("data.source", "data.labels", "data.test"):
                raise BractError(f"{path}: {key}: data is named by --data")
            if key == "seed" or key.startswith("run."):
                raise BractError(f"{path}: {key} is the board's own")
        tuned = {key for point in [*self.grid, *self.private_grid, *self.private_then] for key in point}
        for key in own:
            if key in tuned:
                raise BractError(f"-c {key}: it is tuned; write a board of your own and name it by --board")
            for question in self.questions:
                said = (*question.rows.values(), *question.columns.values(), *question.places.values())
                if any(key in values for values in said):
                    raise BractError(f"-c {key}: '{question.name}' sets it; write a board of your own (--board)")

    def unanswered(self) -> "Board":
        """The same without what its file says of its own rows."""
        questions = [replace(question, answer="") for question in self.questions]
        return replace(self, about="", limits="", bytes="", questions=questions)

    def only(self, names: Sequence[str]) -> "Board":
        """The same with these questions alone; with all of them, if none is named."""
        if unknown := set(names) - {question.name for question in self.questions}:
            there = ", ".join(f"'{question.name}'" for question in self.questions)
            raise BractError(f"--only '{min(unknown)}': there is no such question; there are {there}")
        return replace(self, questions=[q for q in self.questions if q.name in names]) if names else self

    def places(self, *questions: Question) -> Iterator[tuple[Question, str, str]]:
        """Every place of these questions' tables, or of all."""
        for question in questions or self.questions:
            for column in sorted(question.columns, key=lambda c: c in question.rates):  # those that lend rates first
                for row in question.rows:
                    yield question, row, column

    def of(self, question: Question, row: str, column: str) -> dict[str, Any]:
        """The settings of a place, but for what is tuned."""
        return {
            **self.settings,
            **question.columns[column],
            **question.rows[row],
            **question.places.get((row, column), {}),
        }

    def points(self, question: Question, row: str, column: str, found: Found) -> Sequence[Values]:
        """What is tried there: as many points for every method, whatever the row itself says of rates.

        Under privacy a second stage, as long for all, is known as soon as the first has run.
        """
        column = question.rates.get(column, column)
        if not self.private(question, row, column):
            return self.grid
        first = self._best(question, row, column, self.private_grid, found)
        return [*self.private_grid, *({**first, **more} for more in self.private_then if first is not None)]

    def all_points(self, question: Question, row: str, column: str) -> Sequence[Values]:
        """All that may come to be tried."""
        column = question.rates.get(column, column)
        if not self.private(question, row, column):
            return self.grid
        return [*self.private_grid, *({**one, **more} for one in self.private_grid for more in self.private_then)]

    def private(self, question: Question, row: str, column: str) -> bool:
        """Whether there is privacy at a place."""
        return bool(self.of(question, row, column).get("privacy.unit", "example") != "none")

    def tuned(self, question: Question, row: str, column: str, found: Found) -> list[Cell]:
        """The runs that tune a place, as far as they are known."""
        return self._at(question, row, column, self.points(question, row, column, found))

    def _at(self, question: Question, row: str, column: str, points: Sequence[Values]) -> list[Cell]:
        base = self.of(question, row, question.rates.get(column, column))
        return [Cell({**base, **point}, self.tuning_seed, self.nodes, tested=False) for point in points]

    def decisive(self, question: Question, row: str, column: str, point: Values) -> list[Cell]:
        """The runs that are reported, at the point that tuning selected."""
        base = self.of(question, row, column)
        return [Cell({**base, **point}, seed, self.nodes, tested=True) for seed in self.seeds]

    def cells(self, question: Question, found: Found) -> list[Cell]:
        """The runs that answer a question, as far as they are known: tuning first, and then seed by seed."""
        cells: list[Cell] = []
        for _, row, column in self.places(question):
            point = self.best(question, row, column, found)
            cells += self.tuned(question, row, column, found)
            cells += self.decisive(question, row, column, point) if point is not None else []
        return sorted(cells, key=lambda cell: (cell.tested, cell.seed))

    def check_rows(self, found: Found, path: Path) -> None:
        """Rows of another board are an error, not a board that begins anew in their file."""
        known = {cell.key for question in self.questions for cell in self.cells(question, found)}
        if found and not known & set(found):
            raise BractError(f"{path} has rows of another board, or of other settings (-c), and none of this one")

    def best(self, question: Question, row: str, column: str, found: Found) -> Values | None:
        """The point with the best accuracy on what the training clients held out; None until all are known.

        A run that failed has none, and where all have failed no point is the best.
        """
        return self._best(question, row, column, self.points(question, row, column, found), found)

    def _best(self, question: Question, row: str, column: str, points: Sequence[Values], found: Found) -> Values | None:
        cells = self._at(question, row, column, points)
        if any(cell.key not in found for cell in cells):
            return None
        scores = [found[cell.key].get("accuracy") for cell in cells]
        known = [score for score in scores if score is not None]
        return points[scores.index(max(known))] if known else None


def _question(told: Mapping[str, Any]) -> Question:
    rows, columns = told["rows"], told["columns"]
    found = Question(
        told["name"],
        " ".join(told["asks"].split()),
        told.get("answer", "").strip(),
        {name: flatten({k: v for k, v in row.items() if k != "in"}) for name, row in rows.items()},
        {name: flatten({k: v for k, v in column.items() if k != "rates-of"}) for name, column in columns.items()},
        {name: column["rates-of"] for name, column in columns.items() if "rates-of" in column},
        {(name, column): flatten(own) for name, row in rows.items() for column, own in row.get("in", {}).items()},
        bool(told.get("personal", False)),
    )
    unknown = ({column for _, column in found.places} | set(found.rates.values())) - set(columns)
    if unknown:
        raise ValueError(f"{told['name']} has no column {', '.join(sorted(unknown))}")
    if set(found.rates.values()) & set(found.rates):
        raise ValueError(f"{told['name']}: a column whose rates another takes should have its own")
    return found


def _grid(axes: Values) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
