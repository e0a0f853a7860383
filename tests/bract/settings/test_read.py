import tomllib

import pytest

from bract.errors import BractError
from bract.settings import methods
from bract.settings.declared import declared
from bract.settings.flat import flatten
from bract.settings.read import read

PERSON = {"privacy.unit": "person", "data.source": "file:/x.csv", "data.user": "patient"}


def test_settings_survive_being_written():
    settings = read({"lora.rank": 3, "train.lr": 1, "data.source": 'file:/a "b"\\c \N{GRINNING FACE}.csv', "seed": 4})
    assert read(flatten(tomllib.loads(settings.to_toml()))) == settings
    assert settings.train.lr == 1.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lora.rnak": 4}, "lora.rnak: no such setting; the nearest is lora.rank"),
        ({"strategy.name": "fa"}, "strategy.name = 'fa'.*one of fedit, ffa.*nearest is ffa"),
        ({"lora.rank": "8"}, "lora.rank = '8': should be a whole number, such as 8"),
        ({"lora.rank": 0}, "lora.rank = 0: should be between 1 and 1024"),
        ({"rounds": True}, "rounds = True: should be a whole number"),
        ({"train.lr": -1.0}, "train.lr = -1.0: should be at least 0"),
        ({"train.lr": float("nan")}, "train.lr = nan: should be at least 0"),
        ({"train.lr": float("inf")}, "train.lr = inf: should be at least 0"),
        ({"data.test": "test.csv"}, "data.test = 'test.csv': should be an absolute path"),
        ({"lora.targets": " ,"}, "lora.targets = ' ,': should be attention"),
        ({"federation.fraction": 1.5}, "federation.fraction = 1.5: should be between"),
        ({"data.source": "file:train.csv"}, "data.source.*demo, node, file:/absolute"),
        ({"data.partition": "dirichlet"}, "data.partition.*iid, dirichlet:0.1"),
        ({"data.partition": "dirichlet:0"}, "data.partition.*above 0"),
        ({"run.folder": "relative"}, "run.folder.*absolute"),
        ({"run.resume": True}, "run.folder should name"),
        ({"model.pooling": "native", "lora.head-init": "labels"}, "needs a pooled head"),
        ({"strategy.name": "lora-a2", "lora.variant": "vera"}, "lora.variant = 'vera': lora-a2 chooses among ranks"),
        ({"strategy.name": "hetlora", "lora.variant": "vera"}, "lora.variant = 'vera': hetlora chooses"),
        ({"strategy.name": "flexlora", "lora.variant": "vera"}, "lora.variant = 'vera': flexlora chooses"),
        ({"lora.variant": "dora"}, "one of lora, rslora, vera"),
        ({"strategy.name": "fedsa", "strategy.weights": "norm"}, "never sees B"),
        ({"lora.variant": "vera", "strategy.weights": "norm"}, "defined for B·A, not for"),
        (
            {"strategy.name": "fedsa", "strategy.local-b": "passed", "lora.head": "shared"},
            "lora.head = 'shared': should be auto where strategy.local-b = 'passed'",
        ),
        ({"strategy.local-b": "passed"}, "strategy.local-b = 'passed': is fedsa's, and strategy.name = 'ffa'"),
        ({"strategy.divide": "selected"}, "strategy.divide = 'selected': is lora-a2's"),
        ({"strategy.score": "magnitude"}, "strategy.score = 'magnitude': is lora-a2's"),
        (
            {"strategy.name": "lora-a2", "strategy.score": "released", "strategy.probe": "first-epoch"},
            "strategy.probe = 'first-epoch': strategy.score = 'released' takes no probe",
        ),
        ({"strategy.name": "hetlora", "strategy.min-rank": 64}, "min-rank = 64: should be at most lora.rank = 8"),
        ({"strategy.name": "fedsa", "data.test": "/x.csv"}, "data.test: the server has no whole model .* as B stays"),
        ({"lora.head": "local", "data.test": "/x.csv"}, "data.test: .* as the head stays with the clients"),
        ({"strategy.name": "fedsa", "strategy.local-b": "passed", "lora.head": "local"}, "lora.head = 'local': should"),
        ({"federation.ranks": "4"}, "federation.ranks = '4': ffa gives all clients lora.rank; lora-a2, hetlora"),
        ({"federation.ranks": "few"}, "federation.ranks.*a number such as 4, or uniform"),
        ({"strategy.name": "hetlora", "federation.ranks": "uniform"}, "'uniform': needs lora.rank of at least 32"),
        ({"strategy.name": "hetlora", "federation.ranks": "16"}, "'16': should be above 0 and at most lora.rank = 8"),
        ({"strategy.name": "lora-a2", "federation.ranks": "0"}, "'0': should be above 0"),
        ({"strategy.name": "hetlora", "federation.ranks": "1.5"}, "'1.5': should be a whole number for hetlora"),
        ({"data.user": "customer"}, "data.user = 'customer': the demo does not say whose its messages are"),
        ({"privacy.unit": "person", "data.user": "x"}, "data.user = 'x': the demo does not say"),
        ({"privacy.unit": "person", "data.source": "file:/x.csv"}, "data.user should name the column that says whose"),
        ({"privacy.per-person": 0}, "privacy.per-person = 0: should be at least 1"),
        ({**PERSON, "strategy.weights": "examples"}, "strategy.weights = 'examples': would tell the server"),
        ({**PERSON, "train.precision": "bfloat16"}, "train.precision = 'bfloat16'.*which no clip bounds"),
        ({**PERSON, "lora.variant": "vera"}, "lora.variant = 'vera'.*no gradients for each example"),
    ],
)
def test_a_bad_setting_is_named_with_what_would_be_right(values, words):
    with pytest.raises(BractError, match=words) as caught:
        read(values)
    assert "\n" not in str(caught.value)


def test_a_number_is_text_where_text_may_be_a_number():
    assert read({"strategy.name": "hetlora", "federation.ranks": 4}).federation.ranks == "4"
    assert read({"strategy.name": "lora-a2", "federation.ranks": 0.5}).federation.ranks == "0.5"
    with pytest.raises(BractError, match="data.partition = '3': should be iid"):
        read({"data.partition": 3})
    with pytest.raises(BractError, match="model.name = 3: should be text"):
        read({"model.name": 3})


def test_all_faults_are_reported_at_once():
    with pytest.raises(BractError) as caught:
        read({"lora.rank": 0, "rounds": 0, "nonsense": 1})
    assert all(word in str(caught.value) for word in ("lora.rank", "rounds", "nonsense"))


@pytest.mark.parametrize("key", ["rounds", "train.lr", "lora.head", "strategy.name", "federation.ranks", "run.resume"])
@pytest.mark.parametrize("value", [[1], {}, None, b"8", "\n", -(10**400)])
def test_a_value_that_no_type_takes_is_one_line_too(key, value):
    """What would be right is said in Bract's words, whatever was given."""
    with pytest.raises(BractError, match=f"{key} = ") as caught:
        read({key: value})
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("validation", "Input", "pydantic"))


@pytest.mark.parametrize("key", ["federation.ranks", "data.test", "run.folder", "data.partition"])
def test_the_whole_text_must_be_of_the_form(key):
    with pytest.raises(BractError, match=f"{key} = .*should be "):
        read({key: f"{declared()[key].example}\n"})


def test_faults_come_in_the_order_of_the_values():
    with pytest.raises(BractError) as caught:
        read({"run.resume": 1, "wire.codecs": 1, "rounds": 0})
    assert str(caught.value) == (
        "run.resume = 1: should be true or false, such as false; wire.codecs: no such setting; the nearest is "
        "wire.codec; rounds = 0: should be at least 1"
    )


def test_a_method_is_what_the_list_holds(monkeypatch):
    with pytest.raises(BractError, match=r"strategy.name = 'made-up'.*one of fedit, ffa.*nearest is"):
        read({"strategy.name": "made-up"})
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, methods.Method("made-up", "somewhere:MadeUp")))
    assert read({"strategy.name": "made-up"}).strategy.name == "made-up"
    with pytest.raises(BractError, match="one of fedit, ffa, .*, made-up; the nearest is made-up"):
        read({"strategy.name": "made"})


def test_what_a_new_method_brings_is_checked_without_its_name(monkeypatch):
    """Traits of the list decide, and messages take names from it."""
    made_up = methods.Method(
        "made-up", "somewhere:MadeUp", options=("score",), ranks="budget", keeps_b=True, no_sum="has none"
    )
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, made_up))
    for values, words in (
        ({"strategy.weights": "norm"}, "the server of made-up never sees B"),
        ({"strategy.divide": "selected"}, "is lora-a2's, and strategy.name = 'made-up'"),
        ({"privacy.unit": "client"}, "strategy.name = 'made-up': has none; with privacy.unit = client take hetlora or"),
        ({"lora.variant": "vera"}, "made-up chooses among ranks"),
    ):
        with pytest.raises(BractError, match=words):
            read({"strategy.name": "made-up", **values})
    assert read({"strategy.name": "made-up", "strategy.score": "magnitude", "federation.ranks": 0.5})
    with pytest.raises(BractError, match="ffa gives all clients lora.rank; lora-a2, hetlora, flexlora, made-up do not"):
        read({"federation.ranks": "4"})


def test_whose_examples_are_may_be_said_with_any_unit():
    """At nodes the operators say it; the demo's messages are each a person's."""
    assert read(PERSON).privacy.per_person == 4
    assert read({**PERSON, "privacy.unit": "none"}).data.user == "patient"
    assert read({"privacy.unit": "person", "data.source": "node"}).privacy.by_clients
    assert read({"privacy.unit": "person"}).data.user == ""
