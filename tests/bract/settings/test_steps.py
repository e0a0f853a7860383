"""Steps are counted once: what is estimated is what is trained, and what is accounted for."""

import json
import math
import re

import pytest

from bract.directives.select import Select
from bract.errors import BractError
from bract.privacy import mechanism as mechanism_module
from bract.privacy.mechanism import find
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.settings.schema import PrivacySettings, TrainSettings
from bract.settings.steps import Steps, sampling_rate, steps_in_round
from server_app.estimate import estimate


def test_steps_by_hand():
    epochs = TrainSettings(steps=0, epochs=3, batch=10)
    assert steps_in_round(epochs, 25, private=False) == Steps(0, 9)  # three batches, the last of five
    assert steps_in_round(epochs, 0, private=False) == Steps(0, 0)
    # 10 / 25 = 0.4 is nearest to 2 ** (-5/4) = 0.42: an epoch is ceil(1 / 0.42) = 3 draws.
    assert sampling_rate(10, 25) == 2 ** (-5 / 4)
    assert steps_in_round(epochs, 25, private=True) == Steps(0, 9)
    # 10 / 21 = 0.476 is nearest to 2 ** -1: an epoch is two draws, where three batches pass over all.
    assert steps_in_round(epochs, 21, private=True) == Steps(0, 6)
    assert steps_in_round(epochs, 21, private=False) == Steps(0, 9)
    probe = Select(4)
    assert steps_in_round(epochs, 21, [probe], private=True) == Steps(2, 6)
    assert steps_in_round(epochs, 21, [Select(4, reuse=True)], private=True) == Steps(2, 4)
    assert steps_in_round(TrainSettings(steps=12, batch=10), 1000, [probe], private=False) == Steps(3, 12)


@pytest.mark.parametrize("do", [(), (Select(4),), (Select(4, reuse=True),), (Select(4, "released"),)])
@pytest.mark.parametrize("train", [TrainSettings(steps=0, epochs=2), TrainSettings(steps=7)])
def test_what_is_accounted_for_is_what_the_rule_says_for_every_size(monkeypatch, train, do):
    """All 1,936 sizes from 65 to 2,000 examples, against the rule written out; the estimate once had another."""
    monkeypatch.setattr(mechanism_module, "noise_for", lambda *_: 1.0)  # the search for it takes a second a size
    privacy = PrivacySettings(delta=1e-6)
    for examples in range(65, 2001):
        mechanism = find(privacy, train, examples, 1, do)
        rate = min(1.0, 2.0 ** (round(4 * math.log2(64 / examples)) / 4))
        epoch = math.ceil(1 / rate)
        training = train.steps or train.epochs * epoch
        probe = (min(epoch, math.ceil(train.steps / 5)) if train.steps else epoch) if do and do[0].probes else 0
        assert mechanism.rate == rate
        assert (mechanism.before, mechanism.steps) == (probe, training if do and do[0].within else training + probe)
        counted = steps_in_round(train, examples, do, private=True)
        assert (mechanism.before, mechanism.steps) == (counted.before, counted.total)


def test_steps_before_training_cannot_be_more_than_the_round_that_they_are_part_of():
    with pytest.raises(BractError, match="steps before training are more than the 10 of a round"):
        steps_in_round(TrainSettings(steps=10), 64 * 3, [Select(1, reuse=True)] * 6, private=False)


@pytest.mark.parametrize("unit", ["none", "example", "client"])
@pytest.mark.parametrize("strategy", ["ffa", "lora-a2"])
def test_the_estimate_says_what_clients_then_train(simulate, config, unit, strategy):
    values = {
        "privacy.unit": unit,
        "privacy.delta": 1e-3,
        "privacy.epsilon": 50.0,
        "strategy.name": strategy,
        "train.steps": 0,
        "train.epochs": 2,
        "rounds": 1,
    }
    settings = read(config(values))
    (line,) = (line for line in estimate(settings, 3) if line.startswith("training"))
    told = [int(number) for number in re.search(r"(\d+) to (\d+) steps", line).groups()]
    probe = re.search(r"after a probe of (\d+) to (\d+)", line)
    before = [int(number) for number in probe.groups()] if probe else [0, 0]
    folder, _ = simulate(values)
    trained = [row["steps"] for row in read_rows(folder.path / "clients.jsonl")]
    assert (min(trained), max(trained)) == tuple(told)
    assert (before == [0, 0]) == (strategy == "ffa")
    if unit == "example":  # what was charged holds the probe's steps too
        charged = [client["steps"] for client in json.loads((folder.path / "privacy.json").read_text())["clients"]]
        assert (min(charged), max(charged)) == (told[0] + before[0], told[1] + before[1])
