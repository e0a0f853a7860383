"""`bract ledger`: what it shows of this machine's ledgers."""

import re

from bract.cli import main
from client_app.privacy.shelf import ledger_path


def test_the_ledger_is_shown(capfd, simulate, data_file):
    assert main.main(["ledger"]) == 0
    assert "no private training has taken place here" in capfd.readouterr().out
    simulate({"privacy.unit": "example", "train.batch": 8, "train.steps": 4})
    assert main.main(["ledger"]) == 0
    out = capfd.readouterr().out
    assert out.count("rounds 1 to 2") == 3
    assert re.search(r"train.csv-[0-9a-f]{12}-1: epsilon [\d.]+ at delta 1e-05, 2 rounds", out)
    ledger_path(f"file:{data_file}", 1).write_text("{")
    assert main.main(["ledger"]) == 1
    found = capfd.readouterr()
    assert "damaged" in found.err
    assert found.out.count("2 rounds") == 2  # the others are still shown
