"""A run's settings held against a policy."""

from dataclasses import replace

import pytest

from bract.errors import BractError, PublicError
from bract.settings.read import read
from client_app.policy import judge
from client_app.policy.policy import Allow, Data, Peers, Policy, Privacy

DATA = Data(path="/data.csv")
STRICT = Policy(data=DATA)


def run(**values):
    return read({"data.source": "node", "data.labels": '["late", "lost"]', **values})


def test_the_strict_default_takes_the_default_run():
    judge.require_allowed(STRICT, run())
    settings = judge.applied(STRICT, run(**{"data.text": "ssn", "data.label": "name", "data.holdout": 0.9}))
    assert settings.data.source == "file:/data.csv"
    assert (settings.data.text, settings.data.label, settings.data.holdout) == ("text", "label", 0.2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model.name": "/models/other"}, "model.name = '/models/other' is not allowed; minilm is"),
        ({"lora.rank": 128}, "at most 64 is allowed"),
        ({"privacy.unit": "none"}, "privacy.unit = 'none': should be example or person"),
        ({"privacy.unit": "client"}, "privacy.unit = 'client': should be example or person"),
        ({"privacy.test-seed": "7"}, "noise that a server knows protects nothing"),
        ({"privacy.share-metrics": True}, "exact figures do not leave this node"),
        ({"privacy.measuring": "exact"}, "at most noisy is allowed"),
        ({"data.labels": "/etc/labels.json"}, "a node reads no file that a run names"),
    ],
)
def test_what_the_strict_default_declines(values, words):
    with pytest.raises(PublicError, match=words):
        judge.require_allowed(STRICT, run(**values))


def test_an_operator_may_allow_more_and_ask_for_more():
    wide = Policy(
        data=DATA,
        allow=Allow(models={"/m": "0"}, largest_rank=256, smallest_batch=32),
        privacy=Privacy(unit="none", exact_metrics=True, measuring="exact"),
    )
    judge.require_allowed(wide, run(**{"model.name": "/m", "privacy.unit": "none", "lora.rank": 200}))
    with pytest.raises(PublicError, match="train.batch = 8: at least 32"):
        judge.require_allowed(wide, run(**{"model.name": "/m", "train.batch": 8}))
    tight = replace(STRICT, privacy=Privacy(largest_delta=1e-7))
    with pytest.raises(PublicError, match="privacy.delta = 1e-05: at most 1e-07"):
        judge.require_allowed(tight, run())


def test_whole_clients_that_share_noise_are_held_to_the_operators_delta_too():
    """They are more than examples; a delta that fits ten clients is no delta for a thousand examples."""
    shared = {"privacy.unit": "client", "privacy.noise": "shared", "federation.sum": "secure", "privacy.delta": 1e-3}
    wish = run(**shared)
    loose, tight = (replace(STRICT, privacy=Privacy(largest_delta=delta)) for delta in (1e-2, 1e-5))
    judge.require_allowed(loose, wish)
    with pytest.raises(PublicError, match="privacy.delta = 0.001: at most 1e-05 is allowed"):
        judge.require_allowed(tight, wish)


def test_an_operator_may_ask_for_a_sum_that_the_server_does_not_see_into():
    settings, secure = run(), run(**{"federation.sum": "secure"})
    asks = Policy(data=DATA, peers=Peers(require_sum=True))
    with pytest.raises(PublicError, match="this node's policy: federation.sum = 'plain': should be 'secure'"):
        judge.require_allowed(asks, settings)
    judge.require_allowed(asks, secure)
    for either in (settings, secure):
        judge.require_allowed(STRICT, either)


@pytest.mark.parametrize(
    ("allowed", "wish", "unit", "found"),
    [
        ("noisy", "auto", "example", "noisy"),
        ("exact", "auto", "example", "exact"),
        ("exact", "noisy", "example", "noisy"),
        ("nothing", "auto", "example", "nothing"),
        ("noisy", "auto", "none", "exact"),
        ("nothing", "auto", "client", "nothing"),
        (None, "auto", "example", "exact"),
        (None, "noisy", "example", "noisy"),
        (None, "nothing", "none", "nothing"),
    ],
)
def test_what_measuring_tells(allowed, wish, unit, found):
    policy = None if allowed is None else Policy(data=DATA, privacy=Privacy(measuring=allowed))
    assert judge.measuring_of(policy, run(**{"privacy.measuring": wish, "privacy.unit": unit})) == found


def test_a_real_node_reads_no_file_that_a_run_names(monkeypatch):
    named = read({"data.source": "file:/etc/passwd.csv"})
    assert judge.policy_for({}, named) is None  # in a simulation it is the user's own
    monkeypatch.setenv(judge.NODE, "1")
    with pytest.raises(PublicError, match="a node reads no file that a run names"):
        judge.policy_for({}, named)
    with pytest.raises(PublicError, match="a node reads no file that a run names"):
        judge.policy_for({}, read({"data.labels": "/etc/labels.json"}))
    assert judge.policy_for({}, read({})) is None  # the demo is nobody's
    assert judge.policy_for({"shared-data": "/etc"}, named) is None
    monkeypatch.chdir("/")
    with pytest.raises(PublicError, match="this names a folder of the node"):
        judge.policy_for({}, read({"data.source": "hub:etc"}))
    for climbing in ("hub:..", "hub:../private", "hub:owner/.."):
        with pytest.raises(BractError, match="data.source"):
            read({"data.source": climbing})
    with pytest.raises(PublicError, match="a node reads no file that a run names"):
        judge.policy_for({"shared-data": "/etc/public"}, read({"data.source": "file:/etc/public/../passwd.csv"}))
