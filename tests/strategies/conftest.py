import pytest

from tests.flower.messages import identify


@pytest.fixture(autouse=True)
def identity():
    identify()
