import ast
from importlib import import_module
from pathlib import Path

import pytest

from bract.settings.declared import declared
from bract.settings.methods import DEFAULT, METHODS, method_of, names

ROOT = Path(__file__).parents[3]


def strings(path):
    """Whole texts in the code of a file."""
    return {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}


def test_only_the_list_names_methods():
    files = [
        path for room in ("bract", "client_app", "server_app", "strategies") for path in (ROOT / room).rglob("*.py")
    ]
    naming = {str(path.relative_to(ROOT)) for path in files if strings(path) & set(names())}
    assert naming == {"bract/settings/methods.py"}


@pytest.mark.parametrize("method", METHODS, ids=names())
def test_a_method_is_where_the_list_says(method):
    module, _, kind = method.place.partition(":")
    assert method_of(method.name) is method
    assert "plan" in vars(getattr(import_module(module), kind))
    assert all(f"strategy.{option}" in declared() for option in method.options)


def test_every_method_stands_in_the_list_once():
    texts = {path.stem: path.read_text() for path in (ROOT / "strategies").glob("[a-z]*.py")}
    files = {name for name, text in texts.items() if "(FederatedLora):" in text}
    assert sorted(m.place.partition(":")[0] for m in METHODS) == sorted(f"strategies.{name}" for name in files)
    assert len(set(names())) == len(METHODS)
    assert DEFAULT in names()
