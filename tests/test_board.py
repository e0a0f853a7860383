"""The board: what is played, in what order, and that it goes on where it stopped."""

import json

import pytest

from benchmarks.board.__main__ import HERE, digest, fill, missing
from benchmarks.board.cells import Board
from benchmarks.board.page import write
from benchmarks.board.play import play
from bract.errors import BractError
from bract.runfolder import read_rows
from tests.harness import TEXTS, tiny_data

SMALL = """
nodes = 2
[settings]
model.name = "{model}"
data.max-length = 32
privacy.unit = "none"
rounds = 1
train.steps = 2
train.batch = 4
[tuning]
seed = 0
grid.train.lr = [0.001, 0.05]
[test]
seeds = [1]
[[question]]
name = "First"
asks = "Which?"
answer = "This one."
columns.low.lora.rank = 1
columns.high = {{ lora.rank = 2, rates-of = "low" }}
rows.ffa.strategy.name = "ffa"
rows.fedsa = {{ strategy.name = "fedsa", in.high.lora.rank = 3 }}
"""


@pytest.fixture
def board(tmp_path, model_folder):
    path = tmp_path / "small.toml"
    path.write_text(SMALL.format(model=model_folder))
    return Board.load(path)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    tiny_data(folder / "train.csv")
    tiny_data(folder / "test.csv", copies=1)
    (folder / "labels.json").write_text(json.dumps(list(TEXTS)))
    return str(folder)


def test_the_fair_board_is_one_that_can_be_played():
    board = Board.load(HERE / "fair.toml")
    cells = missing(board, {})
    assert all(cell.seed == board.tuning_seed and not cell.tested for cell in cells)
    for question, row, column in board.places():  # equal effort
        private = board.of(question, row, column).get("privacy.unit") == "example"
        assert len(board.tuned(question, row, column)) == len(board.private_grid if private else board.grid)


def test_tuning_comes_first_and_the_best_point_is_tested_with_other_seeds(board):
    first = missing(board, {})
    assert len(first) == 2 * 2  # two rows, two points; the second column takes the first one's
    found = {cell.key: {"accuracy": cell.settings["train.lr"]} for cell in first}
    then = missing(board, found)
    assert [(cell.seed, cell.tested, cell.settings["train.lr"]) for cell in then] == [(1, True, 0.05)] * 4
    assert {cell.settings["lora.rank"] for cell in then} == {1, 2, 3}
    assert not missing(board, {**found, **{cell.key: {} for cell in then}})


def test_it_stops_and_goes_on(board, data, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    fill(board, rows, data, 2, minutes=0)
    assert not read_rows(rows)
    one = missing(board, {})[0]
    known = play(one, data)
    told = {"key": one.key, "data": digest(data), "seed": one.seed, "settings": dict(one.settings)}
    rows.write_text(json.dumps({**told, **known}) + "\n")
    fill(board, rows, data, 2)
    found = read_rows(rows)
    assert len(found) == 8
    assert len({row["key"] for row in found}) == 8
    assert sum("test_accuracy" in row for row in found) == sum(row["seed"] == 1 for row in found) == 4
    before = rows.read_bytes()
    fill(board, rows, data, 2)
    assert rows.read_bytes() == before
    with pytest.raises(BractError, match="rows of other data"):
        fill(board, rows, "", 2)
    write(board, found, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text()
    assert "…" not in page.split("## First")[1]
    assert "This one." in page


@pytest.mark.long
@pytest.mark.parametrize("row", ["ffa", "fedsa"])
def test_a_cell_gives_the_same_numbers_through_flower(board, data, row):
    (question,) = board.questions
    (cell,) = board.decisive(question, row, "low", {"train.lr": 0.01})
    here, there = play(cell, data), play(cell, data, flower=True)
    assert {**here, "minutes": 0} == {**there, "minutes": 0}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = [1]", "seeds = [0, 1]", "tuning.seed = 0 is among test.seeds"),
        ('"ffa"', '"ffb"', "First, ffa, low: strategy.name = 'ffb'"),
        ('rates-of = "low"', 'rates-of = "no"', "First has no column no"),
        ("nodes = 2", "", "KeyError: 'nodes'"),
    ],
)
def test_a_board_that_cannot_be_is_named_before_anything_is_played(tmp_path, model_folder, old, new, words):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.format(model=model_folder).replace(old, new))
    with pytest.raises(BractError, match=words):
        Board.load(path)
