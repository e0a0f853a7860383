import tomllib

import pytest

from bract.settings import write
from bract.settings.declared import declared
from bract.settings.flat import flatten
from bract.settings.schema import Settings


@pytest.mark.parametrize("path", [write.PROJECT, write.PAGE])
def test_what_repeats_the_schema_is_not_stale(path):
    assert (write.ROOT / path).read_text() == write.written(write.ROOT)[path], "run make settings"


def test_the_app_declares_every_setting_with_its_default():
    config = tomllib.loads((write.ROOT / write.PROJECT).read_text())["tool"]["flwr"]["app"]["config"]
    assert flatten(config) == Settings().flat()


def test_the_page_names_every_setting_once():
    lines = write.page().splitlines()
    for key in declared():
        assert sum(line.startswith(f"| `{key}` |") for line in lines) == 1, key
    a2, fedsa = (
        next(i for i, line in enumerate(lines) if line.startswith(f"### Options of `{name}`"))
        for name in ("lora-a2", "fedsa")
    )
    inside = [line.split("`")[1] for line in lines[a2:fedsa] if line.startswith("| `")]
    assert inside == ["strategy.divide", "strategy.score", "strategy.probe"]


def test_what_is_stale_is_named_and_written(tmp_path, monkeypatch, capsys):
    project = (write.ROOT / write.PROJECT).read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / write.PROJECT).write_text(project.replace("\nrounds = 5\n", "\nrounds = 6\n"))
    monkeypatch.setattr(write, "ROOT", tmp_path)
    assert write.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "pyproject.toml is stale: run make settings",
        "docs/settings.md is stale: run make settings",
    ]
    assert write.main([]) == 0
    assert (tmp_path / write.PROJECT).read_text() == project
    assert write.main(["--check"]) == 0
