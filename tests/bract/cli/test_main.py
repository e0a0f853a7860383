"""The command line, up to the point where Flower is started."""

import json
import re
from pathlib import Path

import pytest

from bract.cli import launch, main
from bract.errors import BractError
from bract.results import console
from bract.settings.read import read

ROOT = str(Path(__file__).parents[3])


def fails(capsys, *words):
    assert main.main(list(words)) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1, error
    return error[0]


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
def test_wrong_settings_are_one_line_before_anything_is_started(capsys, command, setting, words):
    assert words in fails(capsys, command, ROOT, "-c", setting)


def test_a_folder_that_is_no_app_is_named(capsys, tmp_path):
    assert "is no Bract app" in fails(capsys, "run", str(tmp_path))


def test_a_missing_data_file_is_named_before_anything_is_started(capsys):
    line = fails(capsys, "plan", ROOT, "-c", "data.source=file:/nowhere/x.csv data.partition=natural:site")
    assert "data.source: there is no file /nowhere/x.csv" in line


def test_settings_may_be_plain_words_toml_values_or_a_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('rounds = 3\n[lora]\nrank = 2\nhead-init = "random"\n')
    words = [str(file), "strategy.name=fedit train.lr=0.1 run.resume=false data.text='my text'", 'model.name="a b"']
    assert main.overrides_of(words) == {
        "rounds": 3, "lora.rank": 2, "lora.head-init": "random", "strategy.name": "fedit", "train.lr": 0.1,
        "run.resume": False, "data.text": "my text", "model.name": "a b",
    }  # fmt: skip


def test_plan_prints_what_the_arithmetic_says(capfd, model_folder, data_file):
    values = f"model.name={model_folder} data.source=file:{data_file} data.max-length=32"
    values += " lora.rank=2 lora.head=frozen train.batch=4"
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", "strategy.name=fedit rounds=2"]) == 0
    out = capfd.readouterr().out
    # 4 modules of 32 x 32 at rank 2: 256 values in A and 256 in B.
    assert "4 modules x rank 2 = 8 slots; A 256, B 256" in out
    each = 512 * 4 + 20 + 128  # the payload's header, and NumPy's
    assert f"up {each:,} bytes a turn (512 values, float32), {6 * each:,} in all" in out
    assert "2 rounds, 6 turns" in out


@pytest.mark.parametrize("name", ["ffa", "fedit", "rolora", "lora-a2", "fedsa", "hetlora", "flexlora"])
def test_plan_is_what_a_run_then_does(capfd, model_folder, data_file, play, name):
    values = (
        f"model.name={model_folder} data.source=file:{data_file} lora.rank=2 train.batch=4 rounds=2 data.max-length=32"
        f" strategy.name={name}"
    )
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values]) == 0
    out = capfd.readouterr().out
    folder, _ = play({"strategy.name": name})
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
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", "privacy.unit=none"]) == 0
    assert "privacy    none: nothing bounds what" in capfd.readouterr().out
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", private, "-c", "privacy.delta=0.01"]) == 0
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", private, "-c", "train.batch=50"]) == 1
    assert "train.batch = 50: a client has fewer examples" in capfd.readouterr().err


def test_plan_says_what_privacy_for_clients_takes(capfd, model_folder, data_file):
    values = f"model.name={model_folder} data.source=file:{data_file} data.max-length=32 lora.head=frozen rounds=2"
    assert main.main(["plan", ROOT, "--nodes", "3", "-c", values, "-c", "privacy.unit=client"]) == 0
    out = capfd.readouterr().out
    assert "each client, by a server that is trusted: epsilon 8 at delta 1e-05 over 2 rounds" in out
    assert re.search(r"a round's mean has noise \d+(\.\d+)? long on an update at most 1 long", out)


def test_the_ledger_is_shown(capfd, play, data_file):
    assert main.main(["ledger"]) == 0
    assert "no private training has taken place here" in capfd.readouterr().out
    play({"privacy.unit": "example", "train.batch": 8, "train.steps": 4})
    assert main.main(["ledger"]) == 0
    out = capfd.readouterr().out
    assert out.count("rounds 1 to 2") == 3
    assert re.search(r"train.csv-[0-9a-f]{12}-1: epsilon [\d.]+ at delta 1e-05, 2 rounds", out)
    from client_app.privacy.ledger import ledger_path

    ledger_path(f"file:{data_file}", 1).write_text("{")
    assert main.main(["ledger"]) == 1
    found = capfd.readouterr()
    assert "damaged" in found.err
    assert found.out.count("2 rounds") == 2  # the others are still shown


def test_the_demo_has_a_node_for_every_branch():
    settings = read({})
    from bract.data.demo.generator import make

    assert launch.default_nodes(settings) == len({e.branch for e in make()})
    assert launch.default_nodes(read({"data.partition": "iid"})) == 8


def test_the_machine_decides_the_workers(monkeypatch):
    monkeypatch.setattr(launch, "cpus", lambda: 16)
    monkeypatch.setattr(launch, "_gpus", lambda: 0)
    assert launch.resources(10) == "num-supernodes=10 client-resources-num-cpus=1"
    assert launch.resources(4) == "num-supernodes=4 client-resources-num-cpus=4"
    monkeypatch.setattr(launch, "_gpus", lambda: 1)
    assert launch.resources(10) == ("num-supernodes=10 client-resources-num-cpus=4 client-resources-num-gpus=0.2500")


@pytest.mark.parametrize("gpus", range(1, 9))
@pytest.mark.parametrize("nodes", range(1, 12))
@pytest.mark.parametrize("cores", [1, 2, 6, 64])
def test_every_worker_fits_on_a_gpu(monkeypatch, gpus, nodes, cores):
    monkeypatch.setattr(launch, "cpus", lambda: cores)
    monkeypatch.setattr(launch, "_gpus", lambda: gpus)
    words = dict(word.split("=") for word in launch.resources(nodes).split())
    share, each = float(words["client-resources-num-gpus"]), int(words["client-resources-num-cpus"])
    assert 0 < share <= 1
    assert each >= 1
    assert min(int(1 / share) * gpus, cores // each) >= 1


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


def test_the_result_is_a_short_table(capsys, play):
    folder, _ = play()
    capsys.readouterr()
    console.show_result(folder.path)
    out = capsys.readouterr().out
    assert "round  accuracy     bytes up   bytes down   seconds" in out
    assert str(folder.path) in out
    total = sum(json.loads(line)["upload_bytes"] for line in (folder.path / "rounds.jsonl").read_text().splitlines())
    assert f"{total:,}" in out


def test_the_last_lines_say_what_is_private_and_what_that_cost(capsys, play, tmp_path):
    plain, _ = play({"run.folder": str(tmp_path / "plain")})
    values = {"privacy.unit": "example", "train.batch": 8, "train.steps": 2}
    private, _ = play({**values, "run.folder": str(tmp_path / "private")})
    capsys.readouterr()
    console.show_result(plain.path)
    assert "privacy   none: nothing bounds" in capsys.readouterr().out
    console.show_price(private.path, plain.path)
    *_, privacy, price = capsys.readouterr().out.strip().splitlines()
    one, two = (json.loads((folder.path / "summary.json").read_text()) for folder in (private, plain))
    assert privacy == (
        f"privacy   each example: epsilon {one['epsilon']:.3g} at delta 1e-05; privacy.md says what that covers"
    )
    assert price == (
        f"price     accuracy {one['accuracy']:.4f} with privacy, {two['accuracy']:.4f} without: "
        f"{two['accuracy'] - one['accuracy']:.4f}"
    )


def test_the_price_is_asked_of_private_simulations_alone(capsys):
    assert "--price: compares" in fails(capsys, "run", ROOT, "--price", "-c", "privacy.unit=none")
    overrides = {"privacy.unit": "example", "privacy.epsilon": 3.0, "rounds": 2, "run.folder": "/x"}
    assert launch.without_privacy(overrides) == {"rounds": 2, "run.folder": "/x-plain", "privacy.unit": "none"}


def test_report_and_compare_are_commands(capsys, play, tmp_path):
    folder, _ = play()
    assert main.main(["report", str(folder.path)]) == 0
    assert main.main(["compare", str(folder.path), str(folder.path), "-o", str(tmp_path / "c.html")]) == 0
    assert (tmp_path / "c.html").stat().st_size > 1000
    assert "not a run folder" in fails(capsys, "report", str(tmp_path))


def test_errors_are_one_line():
    assert str(BractError("a\n  b\tc")) == "a b c"
    assert str(BractError("\x1b[2J\x1b]0;owned\x07 x")) == "[2J ]0;owned x"
    assert len(str(BractError("x" * 10**6))) == 500


def test_fewer_nodes_than_the_run_waits_for_are_refused_at_once(capsys):
    assert "--nodes starts only 2" in fails(capsys, "run", ROOT, "--nodes", "2", "-c", "federation.nodes=4")


def test_node_hands_its_words_to_flower(monkeypatch):
    told = []
    monkeypatch.setattr("bract.flower.supernode.run", lambda words: told.append(words) or 3)
    words = ["--insecure", "--superlink", "127.0.0.1:1", "--node-config", "partition-id=0 num-partitions=2"]
    assert main.main(["node", *words]) == main.main(["node", "--", *words]) == 3
    assert told == [words, words]
