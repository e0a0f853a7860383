"""Bract's version, which stands in one place: pyproject.toml."""

import tomllib
from pathlib import Path

BESIDE = Path(__file__).parents[1] / "pyproject.toml"


def version(beside: Path = BESIDE) -> str:
    """The version of the code that runs, also where another one is installed.

    A checkout, and an app that Flower has unpacked, have their pyproject.toml beside the package. An installed package
    has none, and its metadata says.
    """
    try:
        project = tomllib.loads(beside.read_text(encoding="utf-8"))["project"]
        if project["name"] == "bract":
            return str(project["version"])
    except (OSError, ValueError, KeyError):
        pass
    from importlib import metadata  # slow to import, and most processes do not come here

    return metadata.version("bract")
