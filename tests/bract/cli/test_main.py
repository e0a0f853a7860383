"""The command line: its commands, and the one line that an error is."""

from pathlib import Path

import pytest

from bract.cli import main

ROOT = str(Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lora.rnak=4", "bract: error: lora.rnak: no such setting; the nearest is lora.rank"),
        ("lora.rank=four", "lora.rank = 'four': should be a whole number"),
        ("strategy.name=fedavg", "one of fedit, ffa"),
        ("rounds", "should be key=value"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_wrong_settings_are_one_line_before_anything_is_started(fails, command, setting, words):
    assert words in fails(command, ROOT, "-c", setting)


def test_a_folder_that_is_no_app_is_named(fails, tmp_path):
    assert "is no Bract app" in fails("run", str(tmp_path))


def test_report_and_compare_are_commands(fails, simulate, tmp_path):
    folder, _ = simulate()
    assert main.main(["report", str(folder.path)]) == 0
    assert main.main(["compare", str(folder.path), str(folder.path), "-o", str(tmp_path / "c.html")]) == 0
    assert (tmp_path / "c.html").stat().st_size > 1000
    assert "not a run folder" in fails("report", str(tmp_path))


def test_node_hands_its_words_to_flower(monkeypatch):
    told = []
    monkeypatch.setattr("bract.flower.supernode.run", lambda words: told.append(words) or 3)
    words = ["--insecure", "--superlink", "127.0.0.1:1", "--node-config", "partition-id=0 num-partitions=2"]
    assert main.main(["node", *words]) == main.main(["node", "--", *words]) == 3
    assert told == [words, words]
