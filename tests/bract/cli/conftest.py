"""What tests of commands share."""

from collections.abc import Callable

import pytest

from bract.cli import main


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that fails, and gives the one line that it says."""

    def line(*words: str) -> str:
        assert main.main(list(words)) == 1
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1, error
        return str(error[0])

    return line
