"""What `make lint` says of security: bandit can fail, and so does a known vulnerability where the service answers."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from bract.processes import free_port
from tests.test_house import ROOMS

ROOT = Path(__file__).parents[1]
LINT = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
ENTRY = {
    "id": "PYSEC-2026-1",
    "schema_version": "1.6.0",
    "summary": "it breaks",
    "affected": [
        {
            "package": {"name": "broken", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


def bandit(*words):
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", ROOT / "pyproject.toml", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("from transformers import AutoModel\nAutoModel.from_pretrained('owner/name')\n", "B615"),
        ("import torch\ntorch.load('x')\n", "B614"),
        ("import pickle\n", "B403"),
        ("import subprocess\nsubprocess.run('ls ' + x, shell=True)\n", "B602"),
        ("import ssl\nssl._create_unverified_context()\n", "B323"),
        ("x = 1  # \u202e hidden\n", "B613"),
    ],
)
def test_bandit_fails_by_the_project_s_settings(tmp_path, code, rule):
    (tmp_path / "x.py").write_text(code, encoding="utf-8")
    done = bandit(tmp_path / "x.py")
    assert done.returncode == 1
    assert rule in done.stdout


def test_what_bandit_leaves_to_ruff_ruff_judges(tmp_path):
    code = "import random, subprocess, urllib.request\nassert x\nopen('/tmp/x')\nurllib.request.urlopen(x)\n"
    code += "random.random()\nsubprocess.run(['ls'])\n"
    (tmp_path / "x.py").write_text(code)
    assert bandit(tmp_path / "x.py").returncode == 0
    words = ["check", "--config", ROOT / "pyproject.toml", "--output-format", "concise", tmp_path / "x.py"]
    done = subprocess.run([sys.executable, "-m", "ruff", *words], capture_output=True, text=True, check=False)
    assert {"S101", "S108", "S310", "S311", "S607"} <= set(re.findall(r"S\d+", done.stdout))


def test_lint_judges_every_room():
    judged = re.search(r"^JUDGED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert set(judged) == {*ROOMS, "docker", "benchmarks", ".ci"}
    assert all((ROOT / place).is_dir() for place in judged)
    assert "bandit --quiet --recursive --configfile pyproject.toml $(JUDGED)" in LINT
    assert "python .ci/vulnerabilities.py" in LINT
    assert not re.search(r"^\t@?-|\|\||;", LINT, re.MULTILINE), "a tool that fails fails lint"
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert "bandit" in {hook["id"] for hook in hooks}


@contextmanager
def osv(answer):
    """A service that answers like OSV: `answer` gives the status and the body for a package and version."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answer(asked["package"]["name"], asked["version"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.fixture
def packages(tmp_path):
    """An environment of two packages, one of them of a local build; and of the two that are not asked about."""
    for name, version in (("broken", "1.0+cpu"), ("whole", "2.0"), ("bract", "0.1.0"), ("pip", "1.0")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return tmp_path


def vulnerabilities(service, path):
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "vulnerabilities.py", "--service", service, "--path", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_vulnerability_that_is_known_fails_lint(packages):
    asked = []

    def answer(name, version):
        asked.append((name, version))
        return 200, json.dumps({"vulns": [ENTRY]} if name == "broken" else {}).encode()

    with osv(answer) as service:
        done = vulnerabilities(service, packages)
    assert done.returncode == 1
    assert done.stderr == "vulnerabilities: broken 1.0: PYSEC-2026-1, mended in 1.1\n"
    assert set(asked[1:]) == {("broken", "1.0"), ("whole", "2.0")}


def test_where_none_is_known_lint_goes_on(packages):
    with osv(lambda *_: (200, b"{}")) as service:
        done = vulnerabilities(service, packages)
    assert (done.returncode, done.stdout) == (0, "vulnerabilities: none known in 2 packages\n")


@pytest.mark.parametrize(
    "answer",
    [
        None,  # nobody listens
        lambda *_: (503, b""),
        lambda *_: (200, b"<html>please log in</html>"),
    ],
)
def test_a_service_that_does_not_answer_is_a_line(packages, answer):
    if answer is None:
        service = f"http://127.0.0.1:{free_port()}/v1/query"
        done = vulnerabilities(service, packages)
    else:
        with osv(answer) as service:
            done = vulnerabilities(service, packages)
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == (f"vulnerabilities: skipped, {service} does not answer\n", "")


def test_a_service_that_says_nothing_holds_nobody_up(packages):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        begun = time.monotonic()
        done = vulnerabilities(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/query", packages)
    assert done.returncode == 0
    assert "skipped" in done.stdout
    assert time.monotonic() - begun < 15


def test_a_service_that_goes_away_is_a_line(packages):
    answers = iter([(200, b"{}")])
    with osv(lambda *_: next(answers, (503, b""))) as service:
        done = vulnerabilities(service, packages)
    assert done.returncode == 0
    assert "skipped" in done.stdout


def test_an_audit_that_fails_by_itself_is_not_taken_for_a_clean_one(packages):
    with osv(lambda name, _: (200, b"{}" if name == "pip" else b"[1]")) as service:
        done = vulnerabilities(service, packages)
    assert done.returncode == 1
    assert "pip-audit failed" in done.stderr
