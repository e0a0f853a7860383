"""`bract ledger`: what it shows of this machine's ledgers."""

import json

import numpy as np

from bract.cli import main
from bract.privacy.lifetime import spent
from bract.privacy.spending import Limit
from client_app.privacy.body import Body
from client_app.privacy.ledger import Entry
from client_app.privacy.shelf import ledger_path, opened

LIMIT = Limit(5.0, 1e-5)


def used(round_, lane="train", **more):
    return Entry("f", round_, "r", 1.5, 0.05, 20, 1e-5, lane=lane, split="s", **more)


def test_a_simulation_s_ledgers_are_shown(capfd, simulate, data_file):
    assert main.main(["ledger"]) == 0
    assert "no private training has taken place here" in capfd.readouterr().out
    simulate({"privacy.unit": "example", "train.batch": 8, "train.steps": 4})
    assert main.main(["ledger"]) == 0
    out = capfd.readouterr().out
    assert out.count("  simulation: 1 runs, 2 rounds trained, 0 times measured, epsilon ") == 3
    assert out.count("no limit for its life is known; what was spent is at delta 1e-05") == 3
    assert "inf" not in out
    path = ledger_path(f"file:{data_file}", 1)
    path.write_text("{")
    gone = ledger_path(f"file:{data_file}", 2)
    gone.unlink()
    assert main.main(["ledger"]) == 1
    found = capfd.readouterr()
    assert f"{path} is damaged" in found.err
    assert f"{gone} is gone" in found.err
    assert found.out.count("2 rounds trained") == 1  # the other is still shown


def test_what_is_left_and_who_spent_it_is_shown(capfd):
    body = Body("file:/data.csv", 0, "notes", np.arange(70, dtype=np.uint64), own=True)
    with opened(body, LIMIT) as ledger:
        for round_, server in ((1, "a:1"), (2, "b:2"), (3, "b:2")):
            ledger.write(used(round_, server=server, time=f"2026-01-0{round_}T00:00:00+00:00"))
        ledger.write(used(3, "holdout", server="b:2", time="2026-01-04T00:00:00+00:00"))
    assert main.main(["ledger", "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)
    three, two, one = (spent([used(1).use] * count, LIMIT) for count in (3, 2, 1))
    assert found["names"] == ["notes"]
    assert found["examples"] == 70
    assert found["limit"] == {"epsilon": 5.0, "delta": 1e-5, "unit": "example"}
    assert found["spent"] == {"train": three, "holdout": one}
    assert [(s["server"], s["trained"], s["measured"], s["epsilon"]) for s in found["servers"]] == [
        ("a:1", 1, 0, one),
        ("b:2", 2, 1, two),
    ]
    assert [s["last"] for s in found["servers"]] == ["2026-01-01T00:00:00+00:00", "2026-01-04T00:00:00+00:00"]
    assert main.main(["ledger"]) == 0
    out = capfd.readouterr().out
    assert f"trained on: epsilon {three:.4g} of 5 at delta 1e-05, {5 - three:.3g} left" in out
    assert f"held out: epsilon {one:.4g} of 5 at delta 1e-05, {5 - one:.3g} left" in out
    assert "  b:2: 1 runs, 2 rounds trained, 1 times measured, epsilon" in out


def test_what_protects_persons_alone_is_told_for_persons(capfd):
    with opened(Body("demo", 0)) as ledger:
        ledger.write(used(1, unit="person"))
    with opened(Body("demo", 1)) as ledger:
        ledger.write(used(1))
    main.main(["ledger", "--json"])
    persons, examples = json.loads(capfd.readouterr().out)
    assert persons["spent"]["train"] == examples["spent"]["train"] > 0
