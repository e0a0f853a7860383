"""What `bract plan` says, and that a run then does it."""

import re
from pathlib import Path

import pytest

from bract.cli import main

ROOT = str(Path(__file__).parents[3])


def test_a_missing_data_file_is_named_before_anything_is_started(fails):
    line = fails("plan", ROOT, "-c", "data.source=file:/nowhere/x.csv data.partition=natural:site")
    assert "data.source: there is no file /nowhere/x.csv" in line


def test_plan_prints_what_the_arithmetic_says(capfd, model_folder, data_file):
    values = f"model.name={model_folder} data.source=file:{data_file} data.max-length=32"
    values += " lora.rank=2 lora.head=frozen train.batch=4"
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", "strategy.name=fedit rounds=2"]) == 0
    out = capfd.readouterr().out
    # 4 modules of 32 x 32 at rank 2: 256 values in A and 256 in B.
    assert "4 modules x rank 2 = 8 slots; A 256, B 256" in out
    each = 512 * 4 + 20 + 128  # the payload's header, and NumPy's
    assert f"up {each:,} bytes a local round (512 values, float32), {6 * each:,} in all" in out
    assert "2 rounds, 6 local rounds" in out


@pytest.mark.parametrize("name", ["ffa", "fedit", "rolora", "lora-a2", "fedsa", "hetlora", "flexlora"])
def test_plan_is_what_a_run_then_does(capfd, model_folder, data_file, simulate, name):
    values = (
        f"model.name={model_folder} data.source=file:{data_file} lora.rank=2 train.batch=4 rounds=2 data.max-length=32"
        f" strategy.name={name}"
    )
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values]) == 0
    out = capfd.readouterr().out
    folder, _ = simulate({"strategy.name": name})
    rows = folder.rounds()
    values_up, up, down = (sum(row[k] for row in rows) for k in ("upload_values", "upload_bytes", "download_bytes"))
    assert f"({values_up // 6:,} values" in out
    assert f"{up:,} in all; down {down:,} for training" in out


def test_plan_says_what_privacy_takes(capfd, model_folder, data_file):
    values = f"model.name={model_folder} data.source=file:{data_file} data.max-length=32 train.batch=8 train.steps=4"
    private = "privacy.unit=example privacy.epsilon=4 rounds=3"
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", private]) == 0
    out = capfd.readouterr().out
    assert "each example, epsilon 4 at delta 1e-05 over 3 rounds joined; clip 1, prv" in out
    by_round = re.search(r"smallest client: 1: ([\d.]+), 2: ([\d.]+), 3: ([\d.]+)", out)
    assert by_round
    first, second, third = (float(number) for number in by_round.groups())
    assert 1 < first < second < third <= 4
    assert third > 3.9
    person = re.search(r"person +one with 2/4/8/16 examples at the smallest client: epsilon ([\d.]+), ([\d.]+),", out)
    assert person
    two, four = (float(number) for number in person.groups())
    assert 2 * third < two < four / 2
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", "privacy.unit=none"]) == 0
    assert "privacy    none: nothing bounds what" in capfd.readouterr().out
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", private, "-c", "privacy.delta=0.002"]) == 0
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", private, "-c", "train.batch=50"]) == 1
    assert "train.batch = 50: a client has fewer examples" in capfd.readouterr().err
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", private, "-c", "privacy.delta=0.01"]) == 1
    assert "privacy.delta = 0.01: whole records could leak" in capfd.readouterr().err


def test_plan_says_what_privacy_for_clients_takes(capfd, model_folder, data_file):
    values = f"model.name={model_folder} data.source=file:{data_file} data.max-length=32 lora.head=frozen rounds=2"
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", "privacy.unit=client"]) == 0
    out = capfd.readouterr().out
    assert "each client, by a server that is trusted: epsilon 8 at delta 1e-05 over 2 rounds" in out
    assert re.search(r"a round's mean has noise \d+(\.\d+)? long on an update at most 1 long", out)
