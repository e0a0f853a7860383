"""`bract ledger`: what it shows of this machine's ledgers."""

import json
import re

from bract.cli import main
from client_app.privacy.shelf import ledger_path


def test_the_ledger_is_shown(capfd, simulate, data_file):
    assert main.main(["ledger"]) == 0
    assert "no private training has taken place here" in capfd.readouterr().out
    simulate({"privacy.unit": "example", "train.batch": 8, "train.steps": 4})
    assert main.main(["ledger"]) == 0
    out = capfd.readouterr().out
    assert out.count("1 runs, 2 rounds trained, 0 times measured, epsilon ") == 3
    assert re.search(r"train.csv-[0-9a-f]{12}-1\n  no limit for its life is known; .* delta 1e-05", out)
    assert main.main(["ledger", "--json"]) == 0
    (one, *_) = json.loads(capfd.readouterr().out)
    assert one["servers"][0]["trained"] == 2
    assert one["spent"]["holdout"] == 0.0 < one["spent"]["train"]
    ledger_path(f"file:{data_file}", 1).write_text("{")
    assert main.main(["ledger"]) == 1
    found = capfd.readouterr()
    assert "damaged" in found.err
    assert found.out.count("2 rounds trained") == 2  # the others are still shown
