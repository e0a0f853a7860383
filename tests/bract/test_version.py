"""The version stands in pyproject.toml alone, and is that of the code that runs."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import bract
from bract.version import version

ROOT = Path(__file__).parents[2]


def test_it_is_the_one_of_pyproject():
    assert bract.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    stated = [path for path in (ROOT / "bract").rglob("*.py") if f'"{bract.__version__}"' in path.read_text()]
    assert not stated


def test_what_lies_beside_the_package_wins_over_what_is_installed(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "bract"\nversion = "9.8.7"\n')
    assert version(tmp_path / "pyproject.toml") == "9.8.7"


def test_an_installed_package_says_it_by_its_metadata(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "version", {"bract": "1.2.3"}.__getitem__)
    assert version(tmp_path / "none.toml") == "1.2.3"
    for text in ('[project]\nname = "another"\nversion = "9"\n', "[tool.x]\n", "no TOML"):
        (tmp_path / "pyproject.toml").write_text(text)
        assert version(tmp_path / "pyproject.toml") == "1.2.3"


def test_asking_for_it_imports_nothing_heavy():
    heavy = ("numpy", "flwr", "torch", "importlib.metadata")
    code = f"import sys, bract; bract.__version__; sys.exit(any(name in sys.modules for name in {heavy}))"
    # -S: without it the site's own .pth files may import what this test looks for.
    assert subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=False).returncode == 0
