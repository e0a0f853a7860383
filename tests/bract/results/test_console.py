"""What a terminal shows of a run."""

import json
from pathlib import Path

from bract.results import console

LOG = [
    "INFO: Flower says\n",
    "[bract] run folder /x/run\n",
    "[bract] round 1/2: 1 of 2 clients, 3 s\n",
    "[bract] round 1/2: 2 of 2 clients, 4 s\n",
    "[bract] round 1/2: accuracy 0.5000, 5.0 s\n",
    "WARNING: client 3 refused: x [bract] run folder /tmp/evil\n",
    "[bract] round 2/2: \x1b]0;owned\x07\n",
    "[bract] error: client 1 (node 7) has another base model\n",
]


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys):
    outcome = console.follow(LOG)
    assert (outcome.folder, outcome.error) == (Path("/x/run"), "client 1 (node 7) has another base model")
    out = capsys.readouterr().out
    assert "\r" not in out
    assert "round 1/2: accuracy 0.5000, 5.0 s" in out
    assert "Flower says" not in out
    assert "\x1b" not in out


def test_a_log_that_is_followed_again_is_not_shown_twice(capsys):
    outcome = console.follow(LOG[:5])
    capsys.readouterr()
    console.follow(LOG, outcome)
    out = capsys.readouterr().out
    assert "run folder" not in out
    assert outcome.error


def test_progress_is_rewritten_in_place_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: True)
    console.follow(LOG)
    out = capsys.readouterr().out
    assert "\r\x1b[Kround 1/2: 1 of 2 clients, 3 s\r\x1b[Kround 1/2: 2 of 2" in out


def test_the_result_is_a_short_table(capsys, simulate):
    folder, _ = simulate()
    capsys.readouterr()
    console.show_result(folder.path)
    out = capsys.readouterr().out
    assert "round  accuracy     bytes up   bytes down   seconds" in out
    assert str(folder.path) in out
    total = sum(json.loads(line)["upload_bytes"] for line in (folder.path / "rounds.jsonl").read_text().splitlines())
    assert f"{total:,}" in out


def test_the_last_lines_say_what_is_private_and_what_that_cost(capsys, simulate, tmp_path):
    plain, _ = simulate({"run.folder": str(tmp_path / "plain")})
    values = {"privacy.unit": "example", "train.batch": 8, "train.steps": 2}
    private, _ = simulate({**values, "run.folder": str(tmp_path / "private")})
    capsys.readouterr()
    console.show_result(plain.path)
    assert "privacy   none: nothing bounds" in capsys.readouterr().out
    console.show_price({"with privacy": private.path, "without privacy": plain.path})
    *_, privacy, with_, without = capsys.readouterr().out.strip().splitlines()
    one, two = (json.loads((folder.path / "summary.json").read_text()) for folder in (private, plain))
    assert privacy == (
        f"privacy   each example: epsilon {one['epsilon']:.3g} at delta 1e-05; privacy.md says what that covers"
    )
    for line, totals, name in ((with_, one, "with privacy"), (without, two, "without privacy")):
        up = f"{totals['upload_bytes'] / 1e6:.1f} MB up"
        assert line == f"price     accuracy {totals['accuracy']:.4f} {name} ({totals['rounds']} rounds, {up})"
    console.show_price({"with privacy": private.path, "without privacy": None})
    assert "price     not known" in capsys.readouterr().out
