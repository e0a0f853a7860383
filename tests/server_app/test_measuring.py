"""Measuring in a run: under noise, through rounds, ledgers, reports and a stop."""

import json

from bract.results.run_folder import read_rows
from client_app.privacy.body import Body
from client_app.privacy.shelf import opened
from tests.flower.messages import read_back

PRIVATE = {"privacy.unit": "example", "privacy.delta": 1e-4, "train.batch": 8, "train.steps": 2, "rounds": 2}
NOISY = {**PRIVATE, "privacy.measuring": "noisy"}


def stated(folder):
    return json.loads((folder.path / "privacy.json").read_text())


def test_noisy_measuring_is_charged_stated_and_shown(simulate, data_file, capsys):
    folder, _ = simulate(NOISY)
    rows, found = folder.rounds(), stated(folder)
    assert all(row["accuracy_margin"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)
    assert all(row["accuracy_mean"] is None for row in rows)  # of clients' own figures noise would be most
    assert [one["rounds"] for one in found["measuring"]] == [3, 3, 3]
    assert max(one["epsilon"] for one in (*found["measuring"], *found["clients"])) == found["epsilon_max"] <= 8.0
    assert any("sums over held-out examples" in line for line in found["released"])
    assert not any("leave without noise" in line for line in found["not_covered"])
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        lanes = [(entry.lane, entry.round) for entry in ledger.entries]
    assert lanes == [("holdout", 0), ("train", 1), ("holdout", 1), ("train", 2), ("holdout", 2)]
    summary = json.loads((folder.path / "summary.json").read_text())
    assert summary["accuracy_margin"] == rows[-1]["accuracy_margin"]
    assert " ± " in (folder.path / "report.html").read_text()
    assert " ± " in capsys.readouterr().out
    clients = read_rows(folder.path / "clients.jsonl")
    margins = [row["accuracy_margin"] for row in clients if row.get("accuracy_margin") is not None]
    assert margins  # of few examples a noised count may fall below one: then nothing is said of that client
    assert all(margin > 0 for margin in margins)


def test_nothing_is_told_where_nothing_may_be(simulate):
    folder, grid = simulate({**PRIVATE, "privacy.measuring": "nothing"})
    assert all(row["accuracy"] is None for row in folder.rounds())
    replies = [read_back(reply) for kind, _, _, reply in grid.log if kind == "evaluate"]
    assert replies
    assert all(set(reply) == {"report"} for reply in replies)


def test_exact_measuring_is_said_to_be_not_covered(simulate):
    folder, _ = simulate(PRIVATE)
    assert stated(folder)["measuring"] == []
    assert any("leave without noise" in line for line in stated(folder)["not_covered"])
    assert "accuracy_margin" not in folder.rounds()[-1]


def test_a_run_that_goes_on_knows_what_was_measured(simulate, tmp_path):
    seeded = {**NOISY, "privacy.test-seed": "7"}
    whole, _ = simulate({**seeded, "run.folder": str(tmp_path / "a")})
    values = {**seeded, "run.folder": str(tmp_path / "b"), "seed": 1, "privacy.joins": 2}
    simulate({**values, "rounds": 1})
    parts, _ = simulate({**values, "rounds": 1, "run.resume": True})
    assert [one["rounds"] for one in stated(whole)["measuring"]] == [3, 3, 3]
    assert [one["rounds"] for one in stated(parts)["measuring"]] == [2, 2, 2]
