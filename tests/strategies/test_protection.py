"""Who counts what was spent: clients by their own word, or the server for itself."""

from dataclasses import replace

import pytest

from bract.errors import BractError
from bract.privacy.mechanism import Mechanism
from bract.settings.schema import PrivacySettings
from strategies.client_level_dp import ClientLevelDP
from strategies.fedit import FedIT
from strategies.protection import ByClients, protection_of
from tests.strategies.exchange import federation

MECHANISM = Mechanism(8.0, 1e-5, "prv", clip=1.0, sigma=1.0, rate=0.5, batch=1.0, steps=1, rounds=3)
SPENDING = MECHANISM.spending([MECHANISM.use()], 1, secret=True)
PRIVACY = PrivacySettings()


def test_a_round_without_an_answer_counts_until_the_client_says_otherwise():
    own = ByClients()
    own.asked(0)
    assert own.heard(0, SPENDING, trained=True) == SPENDING.epsilon
    own.asked(0)
    own.asked(0)
    found = own.spendings(federation(), PRIVACY)[0]
    assert (found.rounds, found.unheard) == (3, 2)
    assert found.epsilon == pytest.approx(MECHANISM.spent(3))
    own.heard(0, replace(SPENDING, rounds=2), trained=False)
    assert (own.spendings(federation(), PRIVACY)[0].rounds, own.silent()) == (2, [])


def test_one_that_abstains_without_its_ledger_has_spent_nothing():
    own = ByClients()
    own.asked(0)
    own.asked(1)
    assert own.silent() == [0, 1]
    own.heard(0, None, trained=False)
    own.heard(1, None, trained=True)
    assert own.silent() == [1]
    assert own.spendings(federation(), PRIVACY) == {}


def test_what_clients_said_is_remembered():
    own, again = ByClients(), ByClients()
    for partition in (0, 1):
        own.asked(partition)
    own.heard(1, SPENDING, trained=True)
    for partition in (0, 2):
        own.asked_to_measure(partition)
    own.measured(0, SPENDING)
    again.recall(own.memory())
    assert again.memory() == own.memory()
    assert own.memory() == {
        "privacy": {"1": SPENDING.to_json()},
        "unheard": {"0": 1},
        "uses": [],
        "measured": {"0": SPENDING.to_json()},
        "unmeasured": {"2": 1},
    }
    assert again.spendings(federation(), PRIVACY) == own.spendings(federation(), PRIVACY)
    assert again.silent() == [0]


def test_the_server_counts_every_round_for_all_and_stops_at_the_target():
    server, again = ClientLevelDP(replace(MECHANISM, epsilon=MECHANISM.spent(2))), ClientLevelDP(MECHANISM)
    assert server.spendings(federation(), PRIVACY) == {}
    server.spend()
    server.spend()
    assert server.heard(0, SPENDING, trained=True) is None
    found = server.spendings(federation(), PRIVACY)
    assert set(found) == {0, 1}
    assert found[0] == found[1]
    assert (found[0].epsilon, found[0].rounds, found[0].uses) == (MECHANISM.spent(2), 2, ((1.0, 0.5, 2),))
    with pytest.raises(BractError, match="is spent after 2 rounds: another would make it"):
        server.spend()
    again.recall(server.memory())
    assert again.memory() == server.memory() == {"privacy": {}, "unheard": {}, "uses": [[1.0, 0.5, 2]]}


def test_a_seeded_server_says_that_nothing_is_known():
    server = ClientLevelDP(MECHANISM, "t")
    server.spend()
    assert server.spendings(federation(), PRIVACY)[0].epsilon is None
    assert server.sample(3, federation()) == ClientLevelDP(MECHANISM, "t").sample(3, federation())


def test_the_mechanism_decides_who_protects():
    assert isinstance(protection_of(federation()), ByClients)
    assert isinstance(protection_of(federation(mechanism=MECHANISM)), ClientLevelDP)
    assert ClientLevelDP(replace(MECHANISM, rate=1.0)).needs_quorum
    assert not ClientLevelDP(MECHANISM).needs_quorum


def test_flower_s_own_rounds_protect_no_clients():
    with pytest.raises(BractError, match="privacy for whole clients: needs Bract's own rounds, not Flower's start"):
        FedIT(federation(mechanism=MECHANISM)).start()
