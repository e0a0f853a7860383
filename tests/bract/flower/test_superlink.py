"""`bract link`: Flower's SuperLink, asked from its own machine and as if from another."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from bract.flower import keys
from bract.flower.superlink import served
from bract.processes import free_port
from tests.flower.superlink import guarded_superlink

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("host", "path", "passes"),
    [
        ("127.0.0.1", "/v1/control/start-run", True),
        ("::1", "/v1/runtime/acquire-task", True),
        ("10.0.0.7", "/v1/fleet/pull-messages", True),
        ("10.0.0.7", "/health", True),
        ("10.0.0.7", "/v1/control/start-run", False),
        ("10.0.0.7", "/v1/runtime/acquire-task", False),
        ("10.0.0.7", "/docs", False),
        ("10.0.0.7", "/v1/fleetish", False),
        ("10.0.0.7", "/V1/FLEET/pull-messages", False),
        ("", "/v1/control/start-run", False),
        ("localhost", "/v1/control/start-run", False),
    ],
)
def test_who_is_served(host, path, passes):
    assert served({"type": "http", "client": (host, 1), "path": path}) is passes


def test_what_is_no_request_is_not_served_from_elsewhere():
    assert not served({"type": "websocket", "client": ("10.0.0.7", 1), "path": "/v1/fleet/x"})
    assert not served({"type": "http", "client": None, "path": "/v1/control/start-run"})


@pytest.mark.parametrize(
    "path", ["/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/v1/fleet/pull-messages"]
)
def test_flower_s_own_application_is_behind_it(monkeypatch, path):
    app = guarded_superlink(monkeypatch)

    async def status(host):
        transport = httpx.ASGITransport(app, client=(host, 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as client:
            return (await client.post(path)).status_code

    assert (asyncio.run(status("10.0.0.7")) == 403) is ("fleet" not in path)
    assert asyncio.run(status("127.0.0.1")) not in (403, 404)


def test_a_real_one_serves_its_own_machine_over_tls_and_ends_when_told(tmp_path):
    port = free_port()
    keys.server(tmp_path / "keys", ["127.0.0.1"], 1)
    place = tmp_path / "link"
    place.mkdir()
    tls = [
        f"--ssl-{one}={tmp_path / 'keys' / file}"
        for one, file in (("ca-certfile", "ca.crt"), ("certfile", "server.crt"), ("keyfile", "server.key"))
    ]
    words = [sys.executable, "-m", "bract.cli", "link", "--host", "127.0.0.1", "--port", str(port), *tls]
    environment = {
        **os.environ,
        "FLWR_HOME": str(tmp_path / "flwr"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    process = subprocess.Popen(words, cwd=place, env=environment, stdin=subprocess.DEVNULL)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "keys" / "ca.crt"))
    under = []
    try:
        end = time.monotonic() + 60
        while True:
            try:
                assert (
                    urllib.request.urlopen(f"https://127.0.0.1:{port}/health", timeout=10, context=trusted).status
                    == 200
                )
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.2)
        under = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)  # its web server ends itself by the signal it was sent
        assert not psutil.wait_procs(under, 15)[1]
    finally:
        process.kill()
        for left in under:
            with suppress(psutil.NoSuchProcess):
                left.kill()
