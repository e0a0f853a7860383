"""Writes what repeats the schema: the app's defaults in `pyproject.toml`, and `docs/settings.md`.

`python -m bract.settings.write` writes both; with `--check` nothing is written: what is stale is named, and the exit
code is then 1.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bract.settings.declared import Setting, declared, sections
from bract.settings.flat import toml
from bract.settings.methods import METHODS
from bract.settings.schema import Settings

ROOT = Path(__file__).parents[2]
PROJECT, PAGE = Path("pyproject.toml"), Path("docs/settings.md")
TABLE = "[tool.flwr.app.config]\n"

INTRO = """\
# Settings

Every setting has a default that works. Change one on the command line, `bract run -c 'lora.rank=16'`, or several in a
TOML file, `bract run -c mine.toml`; with Flower's own command it is `flwr run --run-config`. A wrong key or value is
refused before anything starts, with what would be right.

`make settings` writes this page from `bract/settings/schema.py`.
"""


def main(arguments: Sequence[str]) -> int:
    """Write both files, or with `--check` only name what is stale."""
    fresh = written(ROOT)
    stale = [path for path in fresh if _text(ROOT / path) != fresh[path]]
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is stale: run make settings")
        return 1 if stale else 0
    for path in stale:  # and nothing else: what a file is made of is made again where it is newer
        (ROOT / path).write_text(fresh[path], encoding="utf-8")
    return 0


def written(root: Path) -> dict[Path, str]:
    """Both files as they should be."""
    before, table, rest = _text(root / PROJECT).partition(TABLE)
    _, bracket, after = rest.partition("\n[")
    return {PROJECT: f"{before}{table}{Settings().to_toml()}{bracket}{after}", PAGE: page()}


def page() -> str:
    """`docs/settings.md`."""
    known, about = declared(), sections()
    parts = [INTRO, "## The run itself", _table({key: known[key] for key in known if not known[key].section})]
    for section, words in about.items():
        keys = {key: one for key, one in known.items() if one.section == section}
        owned = {f"{section}.{option}" for method in METHODS for option in method.options if section == "strategy"}
        parts += [f"## {section}", words, _table({key: one for key, one in keys.items() if key not in owned})]
        if owned:
            parts += _by_method(keys)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _by_method(keys: Mapping[str, Setting]) -> list[str]:
    """What each method has of its own."""
    parts = []
    for method in METHODS:
        if method.options:
            code = f"{method.place.partition(':')[0].replace('.', '/')}.py"
            parts += [
                f"### Options of `{method.name}`",
                f"Its rule is in `{code}`.",
                _table({f"strategy.{option}": keys[f"strategy.{option}"] for option in method.options}),
            ]
    return parts


def _table(keys: Mapping[str, Setting]) -> str:
    rows = [
        (f"`{key}`", _type(one), f"`{toml(one.default)}`", one.help, one.since, f"`{key} = {toml(one.example)}`")
        for key, one in keys.items()
    ]
    head = ("key", "type", "default", "meaning", "since", "example")
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _type(setting: Setting) -> str:
    if setting.choices:
        return " ".join(f"`{choice}`" for choice in setting.choices)
    if setting.form:
        return f"text: {setting.form}"
    kind = setting.kind.removeprefix("a ")
    if math.isinf(setting.low):
        return kind
    low, high = (f"{end:g}" if float(f"{end:g}") == end else str(end) for end in (setting.low, setting.high))
    return f"{kind}, at least {low}" if math.isinf(setting.high) else f"{kind}, {low} to {high}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
