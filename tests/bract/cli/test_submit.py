"""What is said of a run that did not complete."""

import shlex
import tomllib

from bract.cli import submit
from bract.cli.options import overrides_of


def words_of(capsys):
    return shlex.split(capsys.readouterr().out.partition(": ")[2])


def test_the_command_that_goes_on_is_taken_as_it_is_said(tmp_path, capsys):
    folder = tmp_path / "a run"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "state.safetensors").touch()
    (folder / "settings.toml").write_text('run.folder = ""\nrounds = 3\n')
    submit.say_how_to_go_on(tmp_path / "app", folder, ["--superlink", "here"])
    words = words_of(capsys)
    assert words[:5] == ["bract", "run", str(tmp_path / "app"), "--superlink", "here"]
    assert overrides_of(words[6::2]) == {"rounds": 3, "run.resume": True, "run.folder": str(folder)}


def test_of_a_run_on_another_machine(tmp_path, capsys):
    submit.say_how_to_go_on(tmp_path, tmp_path / "elsewhere", ["--superlink", "far"])
    (_, text) = words_of(capsys)
    assert tomllib.loads(text.replace(" ", "\n"))["run"] == {"resume": True, "folder": str(tmp_path / "elsewhere")}


def test_nothing_where_there_is_nothing_to_go_on_with(tmp_path, capsys):
    submit.say_how_to_go_on(tmp_path, None, [])
    submit.say_how_to_go_on(tmp_path, tmp_path / "never", ["--nodes", "2"])  # a simulation that never began
    submit.say_how_to_go_on(tmp_path, tmp_path, [])  # a folder here, without a complete round
    assert capsys.readouterr().out == ""
