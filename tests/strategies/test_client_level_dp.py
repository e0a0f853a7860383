"""Privacy for whole clients, on numbers that can be checked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bract.privacy.mechanism import SAFE, Mechanism
from bract.privacy.noise import SecureNoise
from bract.settings.schema import StrategySettings
from bract.wire.payload import Payload
from strategies import Member
from strategies.client_level_dp import ClientLevelDP, NoisySum
from strategies.fedit import FedIT
from strategies.ffa import FFALoRA
from strategies.lora_a2 import LoRAA2
from tests.strategies.exchange import A0, B0, LAYOUT, PAIR, PAIR_A, PAIR_B, federation, merged, reply, sent

QUIET = Mechanism(8.0, 1e-5, "prv", clip=1.0, sigma=0.0, rate=1.0, batch=4.0, steps=1, rounds=3)
BEFORE = {"A": A0, "B": B0}


def f32(values):
    return np.array(values, np.float32)


def test_a_whole_update_is_clipped_over_all_its_parts_and_the_sum_divided_by_a_fixed_number():
    """(3, 0, 0, 0 | 4, 0) is 5 long and shrinks to a fifth; (0, 0, 0, 0 | 0, 0.5) stays; m is 4 whoever answers."""
    strategy = FedIT(federation(mechanism=QUIET))
    one, two = sent(strategy)
    long = reply(one, A=A0 + f32([3, 0, 0, 0]), B=[4, 0], examples=1000)
    short = reply(two, A=A0, B=[0, 0.5], examples=1)
    found = merged(strategy, [short, long])
    assert np.allclose(found["A"] - A0, np.array([0.6 * SAFE, 0, 0, 0]) / 4, atol=1e-6)
    assert np.allclose(found["B"], np.array([0.8 * SAFE, 0.5]) / 4, atol=1e-7)


def test_slots_that_were_not_sent_count_as_no_change():
    """LoRA-A2 sends the changes of its best slots: here slot 3, whose B has two values (0.3, 0.4) of length 0.5."""
    quiet = replace(QUIET, clip=0.25)
    strategy = LoRAA2(federation(PAIR, clients=1, mechanism=quiet, strategy=StrategySettings(name="lora-a2")))
    strategy.federation = replace(strategy.federation, members=(Member(0, 10, rank=0.5),))
    (message,) = sent(strategy, parts={"A": PAIR_A, "B": PAIR_B})
    found = merged(strategy, [reply(message, PAIR, slots=[3], B=[0.3, 0.4])])
    assert np.allclose(found["B"] - PAIR_B, np.array([0, 0, 0, 0, 0.15, 0.2]) * SAFE / 4, atol=1e-6)
    assert (found["A"] == PAIR_A).all()


def test_values_of_some_slots_are_taken_against_what_was_there():
    """As HetLoRA sends them: the first rank alone, as it is now and not as a change."""
    total = NoisySum(PAIR, ["B"], {"A": PAIR_A, "B": PAIR_B}, QUIET, SecureNoise(), changes=False)
    total.add(0, 9.0, Payload(1, {"B": f32([1.5, 1, 0])}, np.array([0, 2])))
    found = total.result({"A": PAIR_A, "B": PAIR_B})
    assert np.allclose(found["B"] - PAIR_B, np.array([0.5, 0, 0, 0, 0, 0]) / 4)


@pytest.mark.parametrize("slots", [None, [0, 3]])
def test_one_client_more_moves_the_sum_by_at_most_the_clip(slots):
    rng = np.random.default_rng(0)
    before = {"A": PAIR_A, "B": PAIR_B}
    chosen = None if slots is None else np.array(slots)
    for scale in (1e-3, 1.0, 1e6):
        payloads = []
        for _ in range(4):
            whole = {p: (scale * rng.normal(size=PAIR.size(p))).astype(np.float32) for p in ("A", "B")}
            payloads.append(Payload(1, {p: PAIR.cut(p, v, chosen) for p, v in whole.items()}, chosen))

        def total(which, before=before, payloads=payloads):
            found = NoisySum(PAIR, ["A", "B"], before, QUIET, SecureNoise(), changes=True)
            for i in which:
                found.add(i, 1.0, payloads[i])
            return np.concatenate([found._sums[p].value() for p in ("A", "B")])

        moved = np.linalg.norm(total([0, 1, 2, 3]) - total([0, 1, 2]))
        assert moved <= QUIET.clip
        assert np.linalg.norm(total([3])) <= QUIET.clip


def test_noise_is_on_every_value_that_travels_also_where_nobody_sent_a_slot():
    mechanism = replace(QUIET, sigma=2.0, clip=0.5)
    drawn = []
    for _ in range(3000):
        total = NoisySum(PAIR, ["B"], {"A": PAIR_A, "B": PAIR_B}, mechanism, SecureNoise(), changes=True)
        drawn.append(total.result({"A": PAIR_A, "B": np.zeros(6, np.float32)})["B"])
    spread = np.array(drawn).std(axis=0) / (2.0 * 0.5 / 4)
    assert np.abs(spread - 1).max() < 6 / math.sqrt(2 * 3000)
    assert np.abs(np.corrcoef(np.array(drawn).T) - np.eye(6)).max() < 6 / math.sqrt(3000)


def test_a_round_without_clients_releases_noise_alone():
    """That nobody was sampled is a secret too."""
    strategy = FFALoRA(federation(mechanism=replace(QUIET, sigma=1.0, rate=0.0)))
    assert sent(strategy) == []
    found = merged(strategy, [])
    assert (found["B"] != B0).all()
    assert (found["A"] == A0).all()  # it does not travel


def test_a_reply_that_is_refused_or_missing_changes_neither_weights_nor_divisor():
    strategy = FFALoRA(federation(mechanism=QUIET, quorum=0.0))
    one, _ = sent(strategy)
    found = merged(strategy, [reply(one, B=[0.5, 0])])
    assert np.allclose(found["B"], [0.125, 0])


def test_clients_are_sampled_each_by_itself_and_by_nothing_that_others_know():
    mechanism = replace(QUIET, rate=0.1)
    samples = [ClientLevelDP(mechanism).sample(1, federation(LAYOUT, 50)) for _ in range(2000)]
    sizes = np.array([len(s) for s in samples])
    assert abs(sizes.mean() - 5) < 5 * math.sqrt(4.5 / 2000)
    assert abs(sizes.var() - 4.5) < 0.8  # a fixed share of the clients would have none
    strategies = [FFALoRA(federation(LAYOUT, 50, mechanism=replace(QUIET, rate=0.5))) for _ in range(2)]
    assert strategies[0].sample(1) != strategies[1].sample(1)  # the run's seed is the same
    assert strategies[0].sample(1) == strategies[0].sample(1)
