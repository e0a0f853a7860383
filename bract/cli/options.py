"""What several commands take: the app, settings, words for Flower; and how many clients there are."""

import argparse
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bract.data import tables
from bract.errors import BractError
from bract.settings.flat import flatten
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.registry import task_of

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # what a command adds itself to
DEFAULT_NODES = 8
PAIR = re.compile(r"""([\w.-]+)=("[^"]*"|'[^']*'|\S*)""")


def add_app(parser: argparse.ArgumentParser) -> None:
    """Take the app's folder."""
    parser.add_argument("app", nargs="?", default=".", help="folder of the app (default: this one)")


def add_run_config(parser: argparse.ArgumentParser) -> None:
    """Take settings, as Flower's own command does."""
    words = 'settings, as "key=value key=value" or one .toml file; may be given more than once'
    parser.add_argument("-c", "--run-config", action="append", default=[], metavar="KEY=VALUE", help=words)


def add_flower_words(parser: argparse.ArgumentParser, command: str) -> None:
    """Take all words as they are, for a command of Flower's."""
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help=f"as {command} takes them")


def flower_words(options: argparse.Namespace) -> list[str]:
    """The words for Flower's command."""
    words: list[str] = options.arguments
    return words[1:] if words[:1] == ["--"] else words


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("should be at least 1")
    return value


def app_settings(options: argparse.Namespace) -> tuple[Path, dict[str, Any], Settings]:
    """The app's folder, what the command line changes, and the settings of both together."""
    app = Path(options.app).resolve()
    try:
        project = tomllib.loads((app / "pyproject.toml").read_text(encoding="utf-8"))
        defaults = flatten(project["tool"]["flwr"]["app"]["config"])
    except (OSError, ValueError, KeyError) as error:
        raise BractError(f"{app} is no Bract app: its pyproject.toml has no [tool.flwr.app.config]") from error
    overrides = overrides_of(options.run_config)
    return app, overrides, read({**defaults, **overrides})


def overrides_of(words: Sequence[str]) -> dict[str, Any]:
    """Settings from the command line. Values are TOML; what is no TOML value is taken as text."""
    found: dict[str, Any] = {}
    for word in words:
        if word.endswith(".toml") and "=" not in word:
            try:
                found |= flatten(tomllib.loads(Path(word).read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise BractError(f"--run-config: {word} cannot be read: {error}") from error
            continue
        rest = PAIR.sub("", word).split()
        if rest:
            raise BractError(f"--run-config {rest[0]!r}: should be key=value")
        found |= {key: _value(text) for key, text in PAIR.findall(word)}
    return found


def default_nodes(settings: Settings) -> int:
    """As many clients as the data has natural groups, else eight."""
    if not tables.natural_column(settings.data):
        return DEFAULT_NODES
    return len(set(tables.load(settings.data, settings.seed, task_of(settings.model.task)).group))


def _value(text: str) -> str | int | float | bool:
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except ValueError:
        return text.strip("\"'")
    return value if isinstance(value, str | int | float | bool) else text
