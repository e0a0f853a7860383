"""Private runs of the tiny federation: the field's faults, each by its name, and what a run says of itself."""

import json
import re

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from opacus.accountants import PRVAccountant
from safetensors.numpy import load_file

from bract.privacy.accounting import Use
from bract.privacy.group import epsilons_of_groups
from bract.results.run_folder import read_rows
from bract.wire.messages import METRICS, PAYLOAD, TRAIN
from client_app.privacy.body import Body
from client_app.privacy.shelf import ledger_path, opened
from server_app.checkpoint import Checkpoint
from tests.flower.messages import read_back
from tests.harness import ledger_epsilon

PRIVATE = {"privacy.unit": "example", "train.batch": 8, "train.steps": 4, "privacy.epsilon": 8.0, "rounds": 3}
METHODS = ["fedit", "ffa", "rolora", "lora-a2", "fedsa", "hetlora", "flexlora"]


def statement(folder):
    return json.loads((folder.path / "privacy.json").read_text())


def again(client, delta):
    """A client's epsilon, computed by other libraries from what the statement says: a lower bound, and Opacus's."""
    sigma, rate, steps = client["sigma"], client["sample_rate"], int(client["steps"] * client["rounds"])
    least = privacy_loss_distribution.from_gaussian_mechanism(
        sigma, sampling_prob=rate, pessimistic_estimate=False, value_discretization_interval=1e-4
    ).self_compose(steps)
    opacus = PRVAccountant()
    opacus.history = [(sigma, rate, steps)]
    return least.get_epsilon_for_delta(delta), opacus.get_epsilon(delta)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_states_what_anyone_can_compute_again(simulate, data_file, name):
    folder, _ = simulate({**PRIVATE, "strategy.name": name, "lora.rank": 4})
    found = statement(folder)
    assert (found["unit"], found["accountant"], found["epsilon_target"], found["delta"]) == (
        "example",
        "prv",
        8.0,
        1e-5,
    )
    assert [c["partition"] for c in found["clients"]] == [0, 1, 2]
    for client in found["clients"]:
        tight, opacus = again(client, 1e-5)
        assert tight <= client["epsilon"] <= min(8.0, 1.01 * tight)
        assert client["epsilon"] == pytest.approx(opacus, rel=0.01)
        assert client["rounds"] == 3
        assert client["uses"] == [[client["sigma"], client["sample_rate"], client["steps"]]] * 3
        assert client["steps"] == (5 if name == "lora-a2" else 4)  # its probe is charged
    assert found["epsilon_max"] == max(c["epsilon"] for c in found["clients"])  # never a mean
    rows = folder.rounds()
    assert rows[0]["epsilon"] is None
    spent = [row["epsilon"] for row in rows[1:]]
    assert spent == sorted(spent)
    assert spent[-1] == found["epsilon_max"] == json.loads((folder.path / "summary.json").read_text())["epsilon"]
    most = max(found["clients"], key=lambda client: client["epsilon"])
    groups = epsilons_of_groups([Use(sigma, rate, steps) for sigma, rate, steps in most["uses"]], 1e-5)
    assert found["group"] == {str(size): value for size, value in groups.items()}
    page = (folder.path / "privacy.md").read_text()
    assert f"By their number of examples: 2: ε = {groups[2]:.3g}, 4: ε = {groups[4]:.3g}," in page
    assert f"ε = {found['epsilon_max']:.3g} at δ = 1e-05" in page
    with opened(Body(f"file:{data_file}", 1)) as ledger:
        assert [e.round for e in ledger.entries] == [1, 2, 3]


def test_a_fresh_engine_each_round_whose_epsilon_is_one_round_s(simulate):
    """The fault: epsilon of one round given as the run's. Here it grows, and the last is that of all steps."""
    folder, _ = simulate(PRIVATE)
    spent = [row["epsilon"] for row in folder.rounds()[1:]]
    assert spent[2] > 1.2 * spent[0]
    client = statement(folder)["clients"][0]
    assert spent[2] >= again(client, 1e-5)[0]


def test_a_target_spent_again_every_round(simulate):
    """The fault: noise set so that each round spends the whole target. Here a longer run has more noise."""
    short, _ = simulate({**PRIVATE, "rounds": 1})
    long, _ = simulate({**PRIVATE, "rounds": 6, "run.folder": ""})
    one, six = (statement(f)["clients"][0] for f in (short, long))
    assert six["sigma"] > 1.1 * one["sigma"]
    assert six["epsilon"] <= 8.0


def test_a_poisson_accountant_over_shuffled_batches(simulate, monkeypatch):
    """The fault: batches of one size in shuffled passes. Here the draws' sizes vary as the accountant supposes."""
    from client_app.training.gradients import PrivateGradients

    sizes = []
    real = PrivateGradients.gradient

    def gradient(self, examples, rows):
        sizes.append(len(rows))
        return real(self, examples, rows)

    monkeypatch.setattr(PrivateGradients, "gradient", gradient)
    simulate({**PRIVATE, "rounds": 6})
    assert len(sizes) == 6 * 3 * 4
    assert len(set(sizes)) > 4


def test_the_mean_of_the_clients_epsilons(simulate, tmp_path):
    """The fault: an average stated for all. Here clients of unequal size differ, and the largest is stated."""
    lines = ["text,label,site"]
    for site, copies in (("a", 2), ("b", 6), ("c", 16)):
        lines += [
            f"{text},{label},{site}"
            for text, label in (
                ("my card is lost", "lost"),
                ("it is late", "late"),
                ("the rate today", "rate"),
                ("help me", "help"),
            )
            for _ in range(copies)
        ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(lines) + "\n")
    values = {"data.source": f"file:{path}", "data.partition": "natural:site", "data.holdout": 0.0, "train.batch": 4}
    folder, _ = simulate({**PRIVATE, **values, "federation.fraction": 0.7, "rounds": 4, "data.labels": ""})
    found = statement(folder)
    spent = [c["epsilon"] for c in found["clients"]]
    assert len({c["sample_rate"] for c in found["clients"]}) > 1
    assert found["epsilon_max"] == max(spent) > sum(spent) / len(spent)


def test_local_factors_trained_without_noise_beside_released_ones(simulate, monkeypatch):
    """The fault: FedSA's B trained without noise. Here B and the head are under the one clip and the one noise."""
    from client_app.training import gradients

    seen = []
    real = gradients.PrivateGradients.__init__

    def init(self, engine, flat, *args, **options):
        seen.append(tuple(dict.fromkeys(view.part for view in flat.views)))
        real(self, engine, flat, *args, **options)

    monkeypatch.setattr(gradients.PrivateGradients, "__init__", init)
    folder, _ = simulate({**PRIVATE, "strategy.name": "fedsa"})
    assert set(seen) == {("A", "B", "head")}
    assert statement(folder)["not_released"] == [
        f"{part}: stays with the client; trained under the same clip and noise" for part in ("B", "head")
    ]


def test_a_client_that_joins_less_spends_less(simulate):
    folder, _ = simulate({**PRIVATE, "federation.fraction": 0.5, "rounds": 4}, clients=4)
    rows = read_rows(folder.path / "clients.jsonl")
    rounds_joined = {c: sum(r["partition"] == c and r["status"] == "merged" for r in rows) for c in range(4)}
    by_rounds_joined = {rounds_joined[c["partition"]]: c["epsilon"] for c in statement(folder)["clients"]}
    assert len(by_rounds_joined) > 1
    assert [by_rounds_joined[n] for n in sorted(by_rounds_joined)] == sorted(by_rounds_joined.values())
    assert all(c["rounds"] == rounds_joined[c["partition"]] for c in statement(folder)["clients"])


def test_exact_counts_and_losses_stay_home(simulate):
    folder, grid = simulate(PRIVATE)
    for kind, _, _, reply in grid.log:
        if kind == TRAIN:
            assert set(read_back(reply)[METRICS]) == {"steps"}
    rows = read_rows(folder.path / "clients.jsonl")
    assert {(r["examples"], r["loss"]) for r in rows} == {(None, None)}
    assert folder.rounds()[-1]["train_loss"] is None
    shared, _ = simulate({**PRIVATE, "privacy.share-metrics": True, "lora.head": "shared", "run.folder": ""})
    rows = read_rows(shared.path / "clients.jsonl")
    assert all(r["examples"] > 0 and r["loss"] > 0 and 0 < r["head_share"] < 1 for r in rows)
    assert any("share-metrics" in line for line in statement(shared)["released"])


def test_clients_weigh_the_same_under_privacy(simulate):
    """A count would tell: two runs in which one client has many more examples merge by equal weights."""
    from strategies.base import FederatedLora

    weights = []
    real = FederatedLora.weigh
    FederatedLora.weigh = lambda self, row, payload: weights.append(real(self, row, payload)) or weights[-1]
    try:
        simulate({**PRIVATE, "data.partition": "dirichlet:0.5", "train.batch": 4})
    finally:
        FederatedLora.weigh = real
    assert set(weights) == {1.0}


def test_a_lost_reply_is_given_again_and_costs_nothing_more(simulate, data_file, tmp_path):
    """The server is killed after a round was trained and before its checkpoint: the round is not spent for twice."""
    import shutil

    values = {**PRIVATE, "privacy.joins": 3}
    folder, _ = simulate({**values, "rounds": 1})
    shutil.copytree(folder.path, tmp_path / "old")
    second, one = simulate({**values, "rounds": 2, "run.resume": True})
    shutil.rmtree(folder.path)
    shutil.copytree(tmp_path / "old", folder.path)  # the server is back before round 2
    third, two = simulate({**values, "rounds": 2, "run.resume": True})

    def replies(grid):
        return {p: read_back(reply)[PAYLOAD] for kind, p, _, reply in grid.log if kind == TRAIN}

    first, later = replies(one), replies(two)
    assert all(first[p]["payload"].data == later[p]["payload"].data for p in range(3))
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert [e.round for e in ledger.entries] == [1, 2]
    assert (second.rounds()[-1]["accuracy"], second.rounds()[-1]["epsilon"]) == (
        third.rounds()[-1]["accuracy"],
        third.rounds()[-1]["epsilon"],
    )


def test_another_request_for_the_same_round_is_spent_for(simulate, data_file):
    """A server that asks round 1 again with other factors gets another release, which the ledger counts."""
    simulate({**PRIVATE, "rounds": 2})
    simulate({**PRIVATE, "rounds": 2, "run.folder": "", "seed": 5})
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert len(ledger.entries) == 4
        assert ledger_epsilon(ledger) > 1.2 * ledger_epsilon(ledger, ledger.entries[0].federation)


def test_a_round_past_the_run_s_target_is_not_trained_and_the_run_goes_on(simulate):
    """Noise is set for two joins; in the third round everyone abstains, and nothing is spent."""
    folder, _ = simulate({**PRIVATE, "privacy.joins": 2, "rounds": 4})
    rows = read_rows(folder.path / "clients.jsonl")
    assert [{r["status"] for r in rows if r["round"] == n} for n in (1, 2, 3, 4)] == [
        {"merged"},
        {"merged"},
        {"abstained"},
        {"abstained"},
    ]
    assert "its privacy budget for this run is spent: another round would make it" in rows[-1]["reason"]
    assert [row["epsilon"] for row in folder.rounds()[2:]] == [folder.rounds()[2]["epsilon"]] * 3
    assert statement(folder)["epsilon_max"] <= 8.0


def test_no_server_can_pass_the_operator_s_limit(simulate, config, data_file):
    """Client 1's operator allows 6 for the life of its data: run after run, with any setting, it stops there."""
    from bract.settings.read import read
    from server_app.rounds import run
    from tests.harness import InProcessGrid

    spent, reasons = [], set()
    for i, epsilon in enumerate((4.0, 4.0, 100.0)):
        run_config = config({**PRIVATE, "privacy.epsilon": epsilon, "run.folder": "", "seed": i})
        grid = InProcessGrid(3, run_config, node_config={1: {"privacy-limit": 6}})
        folder = run(grid, read(run_config))
        rows = [r for r in read_rows(folder.path / "clients.jsonl") if r["partition"] == 1]
        reasons |= {r["reason"] for r in rows if r["status"] == "abstained"}
        with opened(Body(f"file:{data_file}", 1)) as ledger:
            spent.append(ledger_epsilon(ledger))
        assert next(c["limit"] for c in statement(folder)["clients"] if c["partition"] == 1) == 6
    assert spent[0] < 4.0 < spent[1] <= 6.0
    assert spent[2] <= 6.0
    assert reasons == {"the limit that its node's operator set for the life of its data is reached"}


def test_a_damaged_ledger_stops_its_client_alone(simulate, data_file):
    simulate({**PRIVATE, "rounds": 1, "privacy.joins": 3})
    path = ledger_path(f"file:{data_file}", 2)
    path.write_text(path.read_text()[:-30])
    folder, _ = simulate({**PRIVATE, "run.resume": True, "privacy.joins": 3})
    rows = [r for r in read_rows(folder.path / "clients.jsonl") if r["round"] > 1]
    assert {r["partition"] for r in rows if r["status"] == "failed"} == {2}
    assert all("ledger" in r["reason"] and "damaged" in r["reason"] for r in rows if r["partition"] == 2)
    assert {r["status"] for r in rows if r["partition"] != 2} == {"merged"}


def test_a_client_with_too_few_examples_abstains_and_says_why(simulate):
    folder, _ = simulate(
        {**PRIVATE, "train.batch": 4, "data.partition": "dirichlet:0.05", "seed": 3, "federation.quorum": 0.1},
        clients=4,
    )
    rows = read_rows(folder.path / "clients.jsonl")
    said = {r["reason"] for r in rows if r["status"] == "abstained"}
    assert any(reason.startswith("privacy.delta and train.batch do not fit its number") for reason in said)
    assert not any(character.isdigit() for reason in said for character in reason)  # not how many it has


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("head", ["frozen", "shared", "local"])
def test_a_private_run_resumes_to_the_same_bits_where_a_test_seeds_the_noise(simulate, tmp_path, name, head):
    values = {
        **PRIVATE,
        "strategy.name": name,
        "lora.head": head,
        "lora.rank": 4,
        "privacy.test-seed": "t",
        "privacy.joins": 3,
    }
    whole, _ = simulate({**values, "run.folder": str(tmp_path / "whole")})
    simulate({**values, "rounds": 2, "run.folder": str(tmp_path / "cut")})
    cut, _ = simulate({**values, "run.folder": str(tmp_path / "cut"), "run.resume": True})
    one, two = (Checkpoint.load(f.checkpoint) for f in (whole, cut))
    assert all((one.parts[part] == two.parts[part]).all() for part in ("A", "B", "head"))
    found = statement(whole)
    assert found["epsilon_max"] is None
    assert "protects nothing" in found["noise_source"]
    assert "**This run protects nothing**" in (whole.path / "privacy.md").read_text()


def test_two_private_runs_with_the_same_settings_differ(simulate, tmp_path):
    """Noise and draws come from no seed of the run's."""
    one, _ = simulate({**PRIVATE, "run.folder": str(tmp_path / "one")})
    two, _ = simulate({**PRIVATE, "run.folder": str(tmp_path / "two")})
    a, b = (Checkpoint.load(f.checkpoint).parts["B"] for f in (one, two))
    assert np.abs(a - b).mean() > 0.1 * np.abs(a).mean()


@pytest.mark.parametrize(
    ("choices", "steps", "charged"),
    [
        ({"strategy.probe": "epoch"}, [2, 10], 12),
        ({"strategy.probe": "first-epoch"}, [2, 8], 10),
        ({"strategy.score": "released"}, [10], 10),  # what has been released chooses for nothing
    ],
)
def test_lora_a2_s_probe_is_private_and_charged(simulate, choices, steps, charged, monkeypatch):
    from client_app.training.gradients import PrivateGradients

    drawn = []
    real = PrivateGradients.draws
    monkeypatch.setattr(PrivateGradients, "draws", lambda self, n, count: drawn.append(count) or real(self, n, count))
    folder, _ = simulate({**PRIVATE, "strategy.name": "lora-a2", "lora.rank": 4, "train.steps": 10, **choices})
    assert statement(folder)["clients"][0]["steps"] == charged
    assert drawn == steps * 9


def test_no_server_can_pass_the_limit_by_asking_for_no_privacy(config):
    from bract.settings.read import read
    from server_app.rounds import run
    from tests.harness import InProcessGrid

    run_config = config({"rounds": 1})
    folder = run(InProcessGrid(3, run_config, node_config={1: {"privacy-limit": 6}}), read(run_config))
    rows = read_rows(folder.path / "clients.jsonl")
    assert [r["status"] for r in rows] == ["merged", "abstained", "merged"]
    assert rows[1]["reason"] == "its node has a privacy-limit, and this run has privacy.unit = none, not example"


def test_a_training_that_failed_is_spent_for_and_its_failure_is_the_only_reply(simulate, data_file, monkeypatch):
    """That training failed leaves the device: trained again under the same entry, it would be a second release."""
    from client_app.training import gradients

    calls = []
    real = gradients.PrivateGradients.gradient

    def gradient(self, examples, rows):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("no more")
        return real(self, examples, rows)

    monkeypatch.setattr(gradients.PrivateGradients, "gradient", gradient)
    values = {**PRIVATE, "privacy.joins": 3, "rounds": 1}
    folder, _ = simulate(values)
    rows = read_rows(folder.path / "clients.jsonl")
    assert rows[0]["status"] == "abstained"
    assert re.fullmatch("a fault at this node, whose log has it as [0-9a-f]{8}", rows[0]["reason"])
    assert [r["status"] for r in rows[1:]] == ["merged", "merged"]
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert len(ledger.entries) == 1
        assert rows[0]["reason"].encode() in ledger.reply(ledger.entries[0])


def test_a_forked_process_has_noise_of_its_own():
    import multiprocessing

    from bract.privacy.noise import process_noise

    mine = process_noise()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        theirs = pool.apply(_drawn)
    assert theirs != mine.uniform(4).tolist()


def _drawn():

    from bract.privacy.noise import process_noise

    return process_noise().uniform(4).tolist()


def requests_of(grid):
    """The requests for training that were sent, as (partition, content)."""
    return [(p, read_back(request)) for kind, p, request, _ in grid.log if kind == TRAIN]


def test_an_old_request_is_not_trained_again_for_free(simulate, data_file):
    """A server that sends the requests of two rounds in turn gets the newest reply again, and pays for the rest."""
    from bract.privacy.spending import Limit
    from bract.settings.read import read
    from client_app.client import Client
    from client_app.rounds.local_round import train_round

    _, grid = simulate({**PRIVATE, "rounds": 2})
    mine = [content for p, content in requests_of(grid) if p == 0]
    client = Client(read(grid.run_config), 0, 3, None, Limit(8.0, 1e-5))
    seen = set()
    for _ in range(4):
        for content in mine:
            reply = train_round(client, content)
            if PAYLOAD in reply:
                seen.add(reply[PAYLOAD]["payload"].data)
    assert len(seen) == 1  # the newest, again and again; the older one would have to be paid for, and cannot
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert len(ledger.entries) == 2


def test_a_round_that_a_crash_cut_short_is_trained_under_its_entry(simulate, data_file, monkeypatch):
    """Killed after the ledger was written and before anything left: nothing more is spent. With other noise, it is."""
    from bract.settings.read import read
    from client_app.client import Client
    from client_app.privacy import budget
    from client_app.rounds.local_round import train_round

    values = {**PRIVATE, "privacy.joins": 3, "rounds": 1}
    _, grid = simulate({**values, "run.folder": ""})
    content = next(content for p, content in requests_of(grid) if p == 0)
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        for path in ledger.path.parent.glob("*-0-*.reply"):
            path.unlink()  # as if it had been killed before
    client = Client(read(grid.run_config), 0, 3)
    assert PAYLOAD in train_round(client, content)
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert len(ledger.entries) == 1
        for path in ledger.path.parent.glob("*-0-*.reply"):
            path.unlink()
    louder = Client(read({**grid.run_config, "privacy.epsilon": 1000.0}), 0, 3)
    train_round(louder, content)
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert len(ledger.entries) == 2
        assert ledger.entries[1].sigma < ledger.entries[0].sigma
    assert budget.SLACK < 1.001


def test_a_seeded_run_is_in_the_ledger_as_one(simulate, data_file):
    simulate({**PRIVATE, "privacy.test-seed": "t", "rounds": 1})
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert [e.seeded for e in ledger.entries] == [True]
        assert ledger_epsilon(ledger) == float("inf")


def test_the_operator_s_limit_is_at_the_operator_s_delta(config, data_file):
    """The same epsilon at a smaller delta allows less."""
    from bract.settings.read import read
    from server_app.rounds import run
    from tests.harness import InProcessGrid

    run_config = config({**PRIVATE, "privacy.epsilon": 4.0, "privacy.delta": 1e-3})
    own = {0: {"privacy-limit": 5.5, "privacy-delta": 1e-3}, 1: {"privacy-limit": 5.5, "privacy-delta": 1e-9}}
    folder = run(InProcessGrid(3, run_config, node_config=own), read(run_config))
    rows = read_rows(folder.path / "clients.jsonl")
    assert {r["status"] for r in rows if r["partition"] == 0} == {"merged"}
    assert "abstained" in {r["status"] for r in rows if r["partition"] == 1}


def test_a_bad_request_costs_nothing(simulate, data_file):
    """A payload of the wrong slots is an error before the ledger is asked."""
    from bract.errors import BractError
    from bract.settings.read import read
    from bract.wire.messages import PLAN
    from bract.wire.plan import Plan
    from client_app.client import Client
    from client_app.rounds.local_round import train_round

    _, grid = simulate({**PRIVATE, "rounds": 1})
    content = next(content for p, content in requests_of(grid) if p == 0)
    content[PLAN] = Plan(2, "other", ("B",), ("B",), ("B",)).to_record()  # of another round than its payload
    with pytest.raises(BractError, match="round 1, this is round 2"):
        train_round(Client(read(grid.run_config), 0, 3), content)
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        assert len(ledger.entries) == 1


def test_a_last_personal_phase_trains_without_noise_what_nobody_receives(simulate, home, tmp_path):
    """Messages are the same as without it, and so is the state that a further round would start from."""
    runs = {}
    for steps in (0, 6):
        values = {**PRIVATE, "strategy.name": "fedsa", "strategy.personal-steps": steps, "privacy.test-seed": "t"}
        folder, grid = simulate({**values, "run.folder": str(tmp_path / str(steps))})
        federation = Checkpoint.load(folder.checkpoint).federation
        kept = sorted((home / "state" / federation / "1").glob("*.safetensors"))[-1].read_bytes()
        own = load_file(home / "personal" / federation / "1" / "adapter_model.safetensors")
        runs[steps] = (folder, [read_back(answer) for *_, answer in grid.log], kept, own)
        (ledger_path(grid.run_config["data.source"], 1).parent).rename(tmp_path / f"ledger-{steps}")
    (_, said, kept, own), (folder, said_too, kept_too, own_too) = runs[0], runs[6]
    for one, two in zip(said, said_too, strict=True):
        if PAYLOAD in one:
            assert one[PAYLOAD]["payload"].data == two[PAYLOAD]["payload"].data
        if METRICS in one and "correct" in one[METRICS]:
            assert all(one[METRICS][key] == two[METRICS][key] for key in ("examples", "correct", "loss"))
    assert kept.partition(b"}")[2] == kept_too.partition(b"}")[2]
    moved = {name for name in own if (own[name] != own_too[name]).any()}
    assert moved
    assert all("lora_B" in name or "classifier" in name for name in moved)  # A is everyone's
    assert all("without noise" in line for line in statement(folder)["not_released"])
    card = next((home / "personal").glob("*/1/README.md")).parent.parent.parent
    assert any("no privacy protects" in page.read_text() for page in card.glob("*/1/README.md"))


def test_a_run_in_which_nobody_can_train_says_so_at_once(simulate):
    """Not five rounds of nothing: here every client has fewer examples than a batch."""
    from bract.errors import BractError

    with pytest.raises(BractError, match="round 1: no client trains; client 0: .*train.batch do not fit"):
        simulate({**PRIVATE, "train.batch": 500})


def test_nothing_is_measured_on_what_a_round_that_was_cut_short_has_kept(simulate, home, data_file):
    """Killed after its B was kept and before its reply was: it will be trained again, with other noise."""
    from bract.errors import BractError
    from bract.settings.read import read
    from bract.wire.messages import EVALUATE
    from client_app.client import Client
    from client_app.rounds.measuring import evaluate

    _, grid = simulate({**PRIVATE, "strategy.name": "fedsa", "rounds": 2})
    asked = [read_back(r) for kind, p, r, _ in grid.log if (kind, p) == (EVALUATE, 0)]
    client = Client(read(grid.run_config), 0, 3)
    assert "correct" in evaluate(client, asked[-1])[METRICS]
    with opened(Body(f"file:{data_file}", 0)) as ledger:
        for path in ledger.path.parent.glob("*-0-*.reply"):
            path.unlink()
        body = ledger.entries
    assert len(body) == 2
    with pytest.raises(BractError, match="round 2 was cut short here"):
        evaluate(client, asked[-1])
    assert "correct" in evaluate(client, asked[0])[METRICS]  # before any training


def test_a_personal_phase_that_fails_is_told_to_nobody(simulate, home, monkeypatch):
    import client_app.rounds.measuring as module

    def failing(*args, **more):
        raise RuntimeError("a text of a patient")

    monkeypatch.setattr(module, "train", failing)
    folder, grid = simulate({**PRIVATE, "strategy.name": "fedsa", "strategy.personal-steps": 3, "rounds": 1})
    assert folder.rounds()[-1]["accuracy"] is not None
    assert not any(b"patient" in answer for *_, answer in grid.log)
    assert len(list((home / "personal").glob("*/*/adapter_model.safetensors"))) == 3


def test_a_reply_that_never_came_is_counted_as_spent(simulate, data_file):
    """The fault: a client charged a round, its reply is late or lost, and the statement knows nothing of it."""
    seen = []

    def late(partition, reply):
        if partition != 1 or reply.metadata.message_type != TRAIN:
            return reply
        seen.append(partition)
        return reply if len(seen) == 1 else None

    folder, _ = simulate({**PRIVATE, "federation.deadline": 1.0}, tamper=late)
    found = statement(folder)
    (line,) = (c for c in found["clients"] if c["partition"] == 1)
    with opened(Body(f"file:{data_file}", 1)) as ledger:
        assert [e.round for e in ledger.entries] == [1, 2, 3]
        assert line["epsilon"] == pytest.approx(ledger_epsilon(ledger))
    assert (line["rounds"], line["unheard"]) == (3, 2)
    assert found["epsilon_max"] == folder.rounds()[-1]["epsilon"] >= line["epsilon"]
    assert "counted as spent: client 1: 2" in (folder.path / "privacy.md").read_text()


def test_a_client_that_never_said_what_it_spends(simulate):
    """The fault: it is left out, and the largest epsilon is that of the others."""
    lost = lambda partition, reply: None if partition == 1 and reply.metadata.message_type == TRAIN else reply  # noqa: E731
    folder, _ = simulate({**PRIVATE, "rounds": 2, "privacy.joins": 4, "federation.deadline": 1.0}, tamper=lost)
    found = statement(folder)
    assert found["silent"] == [1]
    assert max(c["epsilon"] for c in found["clients"]) < found["epsilon_max"] == 8.0 == folder.rounds()[-1]["epsilon"]
    assert "client 1." in (folder.path / "privacy.md").read_text()
