"""The noise in released sums, by the code that makes it: what there is, what is due, and what is stated of it."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.stats import chi2

from bract.adapter.layout import PARTS
from bract.privacy.noise import SecureNoise
from bract.secure_sum.vector import Words
from bract.settings.read import read
from bract.wire.messages import TRAIN
from client_app.client import Client
from client_app.privacy.budget import Private
from client_app.request import decode
from client_app.rounds import contributing
from client_app.rounds.local_round import LocalRound
from client_app.rounds.place import Asked, Place
from client_app.secure_sum.memory import Memory
from server_app.rounds import run
from strategies.sums import Summed
from tests.harness import InProcessGrid
from tests.hostile.sums import Members
from tests.kept import keep
from tests.server_app.secure_sum.test_rounds import Losses

N, SURVIVORS, COLLUDERS = 5, 4, 1
HONEST = SURVIVORS - COLLUDERS
ROUNDS, MANY = 400, 2000
VALUES = {
    "federation.sum": "secure",
    "federation.survivors": SURVIVORS,
    "federation.colluders": COLLUDERS,
    "privacy.unit": "example",
    "privacy.noise": "shared",
    "privacy.delta": 1e-4,
    "train.steps": 1,
    "train.rate": 1.0,  # every draw is all examples: a fixed batch
    "train.engine": "opacus",
}


@dataclass(frozen=True)
class Sums:
    """A member's contributions to sums at one model, time and again."""

    place: Place
    local: LocalRound

    @staticmethod
    def of(place: Place, noise: SecureNoise) -> "Sums":
        client = place.client
        net = client.model()
        for part in PARTS:
            if part in place.request.received.parts:
                net.set(part, place.request.received.parts[part], client.layout)
        private = Private(client.account.training(place.plan), noise)
        return Sums(place, LocalRound(client, place.plan, net, None, private=private))

    def clipped(self):
        """What it would send without noise."""
        without = replace(self.local.private, mechanism=replace(self.local.private.mechanism, sigma=0.0))
        return self._made(replace(self.local, private=without))

    def noisy(self):
        return self._made(self.local)

    def _made(self, local):
        values = contributing.gradients(self.place, local, local.private.noise)
        self.local.private.taken.clear()
        return values

    def words(self, values):
        return Words.of(self.place.shape, values, [0] * self.place.shape.figures)

    @property
    def due(self) -> float:
        """The noise that the accountant asks for, squared, in steps of the grid."""
        return (self.local.private.mechanism.sigma * self.place.sum.sensitivity) ** 2


@pytest.fixture
def members(home, config, monkeypatch):
    """All of a set-up, made by messages; gradients of the one batch at the one model are computed once."""
    keep(monkeypatch)
    asked = Members(home, config(VALUES), N)
    set_up = asked.agreed(asked.parameters(survivors=SURVIVORS, colluders=COLLUDERS))
    content = asked.round(set_up, 1, trains=True)
    found, kept, real = [], {}, contributing.clipped_sum

    def once(model, examples, *more, **named):
        if id(examples) not in kept:
            kept[id(examples)] = real(model, examples, *more, **named)
        return kept[id(examples)]

    monkeypatch.setattr(contributing, "clipped_sum", once)
    for i in asked.all:
        context = Context(1, i + 7, {"partition-id": i, "num-partitions": N}, RecordDict(), asked.config)
        client, agreed = Client.of(context), Memory("f", i).agreed()
        request = decode(content, client.layout, client.rank, i)
        place = Place(client, agreed, Asked.of(content, agreed, client), request, content)
        found.append(Sums.of(place, SecureNoise(f"member {i}")))
    return found


def noise_in(members, survivors, colluders=(), rounds=ROUNDS):
    """By round: the released sum without what survivors' data and colluders' noise put into it, in steps."""
    exact = [member.clipped() for member in members]
    assert all(one.any() for one in exact)
    left = np.empty((rounds, len(exact[0])), dtype=np.int64)
    for row in left:
        total = Words.zeros(members[0].place.shape)
        known = np.zeros(len(row), dtype=np.int64)
        for i in survivors:
            values = members[i].noisy()
            total.add(members[i].words(values))
            known += values if i in colluders else exact[i]
        row[:] = total.numbers()[0] - known
    return left


def require_variance(left, expected, errors=4):
    """Around zero, independent from value to value and round to round, each within so many standard errors.

    And each value's by itself, as far as one of a million honest sums would pass.
    """
    rounds, values = left.shape
    count = rounds * values
    found = (left.astype(np.float64) ** 2).sum(0)  # the mean is zero
    assert abs(found.sum() / count / expected - 1) < errors * np.sqrt(2 / count)
    each = found / expected
    risk = 1e-6 / values / 2
    assert each.min() > chi2.ppf(risk, rounds)
    assert each.max() < chi2.isf(risk, rounds)
    unit = left / np.sqrt(expected)
    for one, other in ((unit[1:], unit[:-1]), (unit[:, 1:], unit[:, :-1])):
        assert abs((one * other).mean()) < errors / np.sqrt(one.size)
    assert abs(unit.mean()) < errors / np.sqrt(count)


LOST = [0, 2, 3, 4]
CASES = [
    (range(N), (), N / HONEST),
    (LOST, (), len(LOST) / HONEST),
    (range(N), (4,), (N - COLLUDERS) / HONEST),
    (LOST, (4,), 1.0),  # the worst that the set-up allows: what is due, and no less
]
NAMES = ["all", "one-lost", "one-colludes", "one-lost-and-one-colludes"]


@pytest.mark.parametrize(("survivors", "colluders", "times"), CASES, ids=NAMES)
def test_a_sum_has_the_noise_of_those_who_are_in_it(members, survivors, colluders, times):
    left = noise_in(members, survivors, colluders)
    assert len(members[0].place.asked.members) == N
    assert times >= 1
    require_variance(left, times * members[0].due)


@pytest.mark.long
@pytest.mark.parametrize(("survivors", "colluders", "times"), CASES, ids=NAMES)
def test_a_sum_has_the_noise_of_those_who_are_in_it_over_many_rounds(members, survivors, colluders, times):
    require_variance(noise_in(members, survivors, colluders, MANY), times * members[0].due)


def test_a_member_that_adds_less_than_its_share_is_noticed(members, monkeypatch):
    """The test's own strength: a tenth less noise of one of five members."""
    share = Place.share

    def less(self, deviation):
        return (0.9 if self.client.partition == 0 else 1.0) * share(self, deviation)

    monkeypatch.setattr(Place, "share", less)
    left = noise_in(members, range(N), rounds=ROUNDS // 4)
    with pytest.raises(AssertionError):
        require_variance(left, N / HONEST * members[0].due)


# -- By messages, masked and unmasked -----------------------------------------------------------


def test_released_sums_have_the_noise_that_is_stated_and_failed_rounds_are_counted(config, monkeypatch):
    """Six rounds: in two all answer, in two one is lost, in two so many that nothing is released."""
    keep(monkeypatch)
    known, left, with_noise, after = {}, [], contributing._with_noise, Summed.after

    def noted(place, values, *more):
        known.setdefault(place.asked.number, {})[place.client.partition] = (place, values)
        return with_noise(place, values, *more)

    def released(self, before, values, weight, *more):
        number = max(known)
        found = known[number]
        survivors = [i for i in found if (number, i) not in lost]
        left.append((len(survivors), values - sum(found[i][1] for i in survivors), found[0][0]))
        return after(self, before, values, weight, *more)

    lost = {(3, 1), (4, 2), (5, 0), (5, 1), (6, 3), (6, 4)}
    losses = Losses({(TRAIN, i): [number for number, who in lost if who == i] for i in range(N)})
    monkeypatch.setattr(contributing, "_with_noise", noted)
    monkeypatch.setattr(Summed, "after", released)
    values = config({**VALUES, "rounds": 6, "data.holdout": 0.0, "train.rate": 0.5, "lora.rank": 8})
    folder = run(InProcessGrid(N, values, tamper=losses.tamper), read(values))

    assert [survivors for survivors, _, _ in left] == [5, 5, 4, 4]
    for count in (5, 4):
        rows = np.array([noise for survivors, noise, _ in left if survivors == count])
        place = left[0][2]
        due = (place.account.training(place.plan).sigma * place.sum.sensitivity) ** 2
        require_variance(rows, count / HONEST * due, errors=5)  # its noise is another in every run

    told = json.loads((folder.path / "privacy.json").read_text())
    assert [client["partition"] for client in told["clients"]] == list(range(N))
    for client in told["clients"]:
        assert client["rounds"] == 6  # released or not
        assert client["uses"] == [[client["sigma"], 0.5, 1.0]] * 6
        prv, rdp = PRVAccountant(), RDPAccountant()
        prv.history = rdp.history = [(client["sigma"], 0.5, 6)]
        assert client["epsilon"] == pytest.approx(prv.get_epsilon(1e-4), rel=0.01)
        assert client["epsilon"] < rdp.get_epsilon(1e-4)
        assert client["epsilon"] <= 8.0
    assert told["epsilon_max"] == max(client["epsilon"] for client in told["clients"])
