from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from bract.settings.declared import declared
from bract.settings.flat import nested
from bract.settings.schema import LoraSettings, Settings, TrainSettings


@pytest.mark.parametrize("key", list(declared()))
def test_a_setting_says_what_it_means_since_when_and_how_it_is_set(key):
    setting = declared()[key]
    assert setting.help
    assert setting.since
    example = TypeAdapter(Settings).validate_python(nested({key: setting.example})).flat()[key]
    assert example == setting.example
    assert example != setting.default or len(setting.choices) == 1
    assert type(example) is type(setting.default)


def test_every_key_is_declared_with_its_default():
    assert {key: setting.default for key, setting in declared().items()} == Settings().flat()


def test_settings_are_values():
    assert hash(Settings()) == hash(Settings())
    assert replace(Settings(), rounds=9) == Settings(rounds=9) != Settings()
    with pytest.raises(AttributeError):
        Settings().rounds = 3


def test_no_settings_are_out_of_bounds_however_they_are_made():
    for wrong in ({"batch": 0}, {"batch": True}, {"optimizer": "lion"}, {"lr": "0.1"}, {"lr": float("nan")}):
        with pytest.raises(ValidationError):
            TrainSettings(**wrong)
    with pytest.raises(ValidationError):
        replace(LoraSettings(), rank=0)
    assert type(TrainSettings(lr=1).lr) is float
