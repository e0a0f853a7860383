"""The board: what is run, in what order, and that it goes on where it stopped."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.board.__main__ import FAIR, fill, main, missing
from benchmarks.board.alone import untrained
from benchmarks.board.cells import Board
from benchmarks.board.data import digest, source
from benchmarks.board.figure import Point, figure
from benchmarks.board.page import write
from benchmarks.board.run import run_cell
from bract.errors import BractError
from bract.results.run_folder import read_rows
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


def test_the_fair_board_is_one_that_can_be_run():
    board = Board.load(FAIR)
    cells = missing(board, {})
    assert all(cell.seed == board.tuning_seed and not cell.tested for cell in cells)
    for question, row, column in board.places():  # equal effort
        private = board.of(question, row, column).get("privacy.unit") == "example"
        points = board.points(question, row, column, {})
        assert list(points) == list(board.private_grid if private else board.grid)
        known = {cell.key: {"accuracy": 0.5} for cell in board.tuned(question, row, column, {})}
        assert len(board.points(question, row, column, known)) == (5 if private else 4)


def test_tuning_comes_first_and_the_best_point_is_tested_with_other_seeds(board):
    first = missing(board, {})
    assert len(first) == 2 * 2  # two rows, two points; the second column takes the first one's
    found = {cell.key: {"accuracy": cell.settings["train.lr"]} for cell in first}
    then = missing(board, found)
    assert [(cell.seed, cell.tested, cell.settings["train.lr"]) for cell in then] == [(1, True, 0.05)] * 4
    assert {cell.settings["lora.rank"] for cell in then} == {1, 2, 3}
    assert not missing(board, {**found, **{cell.key: {} for cell in then}})


def test_a_second_stage_is_tried_at_the_best_of_the_first(tmp_path, model_folder):
    path = tmp_path / "private.toml"
    words = SMALL.format(model=model_folder).replace('privacy.unit = "none"', 'privacy.unit = "example"')
    path.write_text(words.replace("[test]", "private.train.lr = [0.1, 0.2]\nthen.privacy.clip = [0.3, 3.0]\n[test]"))
    board = Board.load(path)
    first = missing(board, {})
    assert sorted(cell.settings["train.lr"] for cell in first) == [0.1, 0.1, 0.2, 0.2]
    assert not any("privacy.clip" in cell.settings for cell in first)
    found = {cell.key: {"accuracy": cell.settings["train.lr"]} for cell in first}
    second = missing(board, found)
    assert [(cell.settings["train.lr"], cell.settings["privacy.clip"]) for cell in second] == [
        (0.2, 0.3),
        (0.2, 3.0),
    ] * 2
    found |= {cell.key: {"accuracy": 0.9 if cell.settings["privacy.clip"] == 3.0 else 0.0} for cell in second}
    last = missing(board, found)
    assert {(cell.tested, cell.settings["train.lr"], cell.settings["privacy.clip"]) for cell in last} == {
        (True, 0.2, 3.0)
    }
    path.write_text(path.read_text().replace("[0.3, 3.0]", "[0.3, -1.0]"))
    with pytest.raises(BractError, match="privacy.clip"):
        Board.load(path)


def test_it_stops_and_goes_on(board, data, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    fill(board, rows, data, 2, minutes=0)
    assert not read_rows(rows)
    one = missing(board, {})[0]
    known = run_cell(one, data)
    assert logging.getLogger().isEnabledFor(logging.WARNING)  # quiet while it runs, and no longer
    told = {"key": one.key, "data": digest(data), "seed": one.seed, "tested": False, "settings": dict(one.settings)}
    rows.write_text(json.dumps({**told, **known}) + '\n{"key": "cut sho')
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
    write(board, found, tmp_path / "results.md", "rows.jsonl")
    page = (tmp_path / "results.md").read_text()
    assert "…" not in page.split("## First")[1]
    assert "This one." in page


PERSONAL = """
[[question]]
name = "Second"
asks = "Worth it?"
personal = true
columns.mix = { lora.rank = 2, data.holdout = 0.3 }
rows.alone = { strategy.name = "fedit", alone = true }
rows.fedsa.strategy.name = "fedsa"
"""


def test_personal_models_stand_beside_training_alone(tmp_path, model_folder, data):
    path = tmp_path / "personal.toml"
    path.write_text(SMALL.format(model=model_folder).split("[[question]]")[0] + PERSONAL)
    board, rows = Board.load(path), tmp_path / "rows.jsonl"
    fill(board, rows, data, 2)
    found = read_rows(rows)
    assert len(found) == 2 * (2 + 1)
    by_itself = [row for row in found if row["settings"].get("alone")]
    assert all(row["upload_bytes"] == 0 for row in by_itself)
    assert all(0 <= row["test_worst"] <= row["test_accuracy"] <= 1 for row in found if row["tested"])
    assert {row["accuracy"] for row in by_itself} != {0.0}
    (again,) = (row for row in by_itself if row["tested"])
    known = {row["key"]: row for row in found if not row["tested"]}
    (cell,) = (cell for cell in missing(board, known) if cell.key == again["key"])
    assert {**again, **run_cell(cell, data), "minutes": 0} == {**again, "minutes": 0}
    write(board, found, tmp_path / "results.md", "rows.jsonl")
    page = (tmp_path / "results.md").read_text()
    assert "mix: worst tenth" in page
    assert page.count("| alone | 0.") + page.count("| alone | 1.") == 1


def test_one_question_may_be_run_alone(tmp_path, model_folder, data):
    path = tmp_path / "two.toml"
    path.write_text(SMALL.format(model=model_folder) + PERSONAL)
    board, rows = Board.load(path), tmp_path / "rows.jsonl"
    fill(board, rows, data, 1, asked=board.only(["Second"]))
    assert {row["settings"]["data.holdout"] for row in read_rows(rows)} == {0.3}
    assert not missing(board.only(["Second"]), {row["key"]: row for row in read_rows(rows)})
    fill(board, rows, data, 1, asked=board.only(["First"]), minutes=0)  # the other one's rows are this board's too


def test_what_all_begin_with(board, data):
    labels = json.loads((Path(data) / "labels.json").read_text())
    found = untrained({**board.settings, **source(data), "lora.rank": 1}, f"{data}/test.csv")
    assert 0 <= found < 1
    assert found * len(labels) * 4 == pytest.approx(round(found * len(labels) * 4))  # four texts a label


def test_a_cell_that_cannot_run_is_the_worst_and_the_board_goes_on(board, data, tmp_path, monkeypatch):
    def fails(cell, data, flower=False):
        if cell.settings["train.lr"] == 0.05:
            raise BractError("it diverged")
        return {"accuracy": 0.1, "upload_bytes": 1, "download_bytes": 1, "upload_values": 1, "minutes": 0.0}

    monkeypatch.setattr("benchmarks.board.__main__.run_cell", fails)
    monkeypatch.setattr("benchmarks.board.__main__.ProcessPoolExecutor", ThreadPoolExecutor)
    rows = tmp_path / "rows.jsonl"
    fill(board, rows, data, 2)
    found = read_rows(rows)
    assert {row["error"] for row in found if "error" in row} == {"it diverged"}
    assert all(row["settings"]["train.lr"] == 0.001 for row in found if row["tested"])
    fill(board, rows, data, 2)  # what failed is tried again
    again = read_rows(rows)[len(found) :]
    assert [row.get("error") for row in again] == ["it diverged"] * 2


def test_a_board_of_which_nothing_can_be_run_ends_soon_and_may_begin_anew(board, data, tmp_path, monkeypatch):
    def fails(cell, data, flower=False):
        raise BractError("there is no such model")

    monkeypatch.setattr("benchmarks.board.__main__.run_cell", fails)
    monkeypatch.setattr("benchmarks.board.__main__.ProcessPoolExecutor", ThreadPoolExecutor)
    rows = tmp_path / "rows.jsonl"
    with pytest.raises(BractError, match="every run has failed, the last one so: there is no such model"):
        fill(board, rows, data, 1)
    assert len(read_rows(rows)) == 2
    monkeypatch.setattr("benchmarks.board.__main__.run_cell", run_cell)
    fill(board, rows, "", 1, minutes=0)  # with other data


def test_a_figure_shows_a_split_and_a_budget_at_a_time():
    drawn = figure("dirichlet:0.5", [Point("ffa", "a < b", 1e6, 0.5), Point("fedit", "c", 3e7, 0.8)])
    assert drawn.count("<circle") == 2 + 2  # and the legend
    assert "a &lt; b: 0.500, 1.00 MB" in drawn


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The command line, of the small board, in one process."""
    monkeypatch.setattr("benchmarks.board.__main__.ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["board", words[0], "--board", "small.toml", *words[1:]])
        return main()

    return run


def test_a_hubs_data_and_settings_of_ones_own_have_rows_and_a_page_of_their_own(
    board, data, tmp_path, monkeypatch, words
):
    # `load_dataset` reads a folder of that name as it would the hub's: the real code, without the network.
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        head, rest = (Path(data) / name).read_text().split("\n", 1)
        assert head == "text,label,site,user"
        (tmp_path / "owner" / "name" / name).write_text(f"sentence,intent,site\n{rest}")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    own = ["-c", "train.steps=1 data.holdout=0.3 data.text=sentence data.label=intent", "--rows", "own.jsonl"]
    assert words("run", "--data", "hub:owner/name", "--workers", "1", *own) == 0
    rows = read_rows(tmp_path / "own.jsonl")
    assert len(rows) == 8
    assert {row["data"][:11] for row in rows} == {"owner-name-"}
    assert {row["settings"]["train.steps"] for row in rows} == {1}
    assert sum("test_accuracy" in row for row in rows) == 4
    before = (tmp_path / "own.jsonl").read_bytes()
    assert words("run", "--data", "hub:owner/name", *own) == 0  # written again, the data is the same
    assert (tmp_path / "own.jsonl").read_bytes() == before
    assert words("page", *own) == 0
    page = (tmp_path / "own.md").read_text()
    assert "…" not in page
    assert "`own.jsonl`" in page
    assert words("page", "-c", "train.steps=2", "--rows", "own.jsonl") == 1  # rows of other settings
    assert (tmp_path / "own.md").read_text() == page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["run", "-c", "train.steps=1"], "-c makes another board"),
        (["run", "-c", "data.source=demo", "--rows", "own.jsonl"], "data.source: data is named by --data"),
        (["run", "-c", "seed=4", "--rows", "own.jsonl"], "seed is the board's own"),
        (["run", "-c", "train.lr=0.1", "--rows", "own.jsonl"], "train.lr: it is tuned"),
        (["run", "-c", "lora.rank=4", "--rows", "own.jsonl"], "'First' sets it"),
        (["run", "-c", "data.holdout=0", "--rows", "own.jsonl"], "data.holdout = 0 leaves nothing to tune by"),
        (["run", "--data", "hub:", "--rows", "own.jsonl"], "should be demo, node"),
        (["run", "--rows", "own.md"], "should be a .jsonl file"),
        (["run", "--rows", "nowhere/own.jsonl"], "in a folder that there is"),
        (["page", "--rows", "own.jsonl"], "has no rows"),
        (["run", "--only", "Second"], "there is no such question; there are 'First'"),
        (["untrained"], "name data with --data"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(board, tmp_path, words, capsys, more, said):
    before = sorted(tmp_path.iterdir())
    assert words(*more) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_page_takes_the_place_of_no_other_file(board, tmp_path, words, capsys):
    one = missing(board, {})[0]
    (tmp_path / "notes.jsonl").write_text(json.dumps({"key": one.key, "data": "demo", "accuracy": 0.5}) + "\n")
    (tmp_path / "notes.md").write_text("# Mine\n")
    assert words("page", "--rows", "notes.jsonl") == 1
    assert "is no page of a board" in capsys.readouterr().err
    assert (tmp_path / "notes.md").read_text() == "# Mine\n"


def test_a_folder_without_the_data_is_named(tmp_path):
    with pytest.raises(BractError, match="should hold train.csv, test.csv and labels.json"):
        digest(str(tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("row", ["ffa", "fedsa"])
def test_a_cell_gives_the_same_numbers_through_flower(board, data, row):
    (question,) = board.questions
    (cell,) = board.decisive(question, row, "low", {"train.lr": 0.01})
    here, there = run_cell(cell, data), run_cell(cell, data, flower=True)
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
def test_a_board_that_cannot_be_is_named_before_anything_is_run(tmp_path, model_folder, old, new, words):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.format(model=model_folder).replace(old, new))
    with pytest.raises(BractError, match=words):
        Board.load(path)
