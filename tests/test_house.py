"""The rooms and who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "bract": set(),
    "strategies": {"bract"},
    "client_app": {"bract"},
    "server_app": {"bract", "strategies"},
}
ROOMS = set(MAY_IMPORT)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room):
    for path in (ROOT / room).rglob("*.py"):
        rooms = {name.split(".")[0] for name in imports(path)} & ROOMS
        assert rooms <= MAY_IMPORT[room] | {room}, path


def test_strategies_know_no_torch():
    for path in (ROOT / "strategies").rglob("*.py"):
        assert not {n.split(".")[0] for n in imports(path)} & {"torch", "transformers", "peft"}, path


def test_the_servers_path_imports_no_torch():
    code = "import server_app.app, sys; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'peft')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_loading_the_client_app_imports_no_torch():
    code = "import client_app.app, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_pickle(room):
    for path in (ROOT / room).rglob("*.py"):
        names = set(imports(path))
        assert not names & {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}, path
        assert "allow_pickle=True" not in path.read_text()
        assert "torch.load" not in path.read_text()


def test_files_stay_small():
    long = {p: len(p.read_text().splitlines()) for room in ROOMS for p in (ROOT / room).rglob("*.py")}
    assert {p.name for p, n in long.items() if n > 350} <= {"demo_phrases.py"}
