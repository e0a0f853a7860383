"""Errors that a user reads."""

from bract.errors import BractError


def test_errors_are_one_line():
    assert str(BractError("a\n  b\tc")) == "a b c"
    assert str(BractError("\x1b[2J\x1b]0;owned\x07 x")) == "[2J ]0;owned x"
    assert len(str(BractError("x" * 10**6))) == 500
