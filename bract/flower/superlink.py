"""`bract link`: Flower's SuperLink, of which other machines reach only what nodes need.

Flower 1.41 answers everybody on one port: nodes (/v1/fleet, by their keys), and, without any login, whoever submits
runs, registers nodes (/v1/control) or takes the server's tasks (/v1/runtime). A run brings code that the server
executes, and spends the nodes' privacy. Here those two answer this machine's own loopback alone.
"""

import ipaddress
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from flwr.superlink import extensions
from flwr.superlink.cli import flower_superlink
from starlette.middleware import Middleware

from bract.flower import keys
from bract.processes import QUIET

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
REFUSED = json.dumps({"detail": "only nodes are served here; use this from the SuperLink's own machine"}).encode()


def run(arguments: Sequence[str]) -> int:
    """Serve until told to end; its exit code is Flower's, which leaves the process itself."""
    keys.require_private_files("link", arguments, keys.LINK_FILES)
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    guard()
    sys.argv = ["flower-superlink", *arguments]
    flower_superlink()
    return 0


def guard() -> None:
    """Every SuperLink that this process makes from now on serves others as nodes alone."""
    before = extensions.get_middleware
    extensions.get_middleware = lambda: (Middleware(NodesOnly), *before())  # the first of all


class NodesOnly:
    """Before all of Flower's: what comes from elsewhere and is not a node's business is refused."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer, or let Flower answer."""
        if scope["type"] == "lifespan" or served(scope):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSED})


def served(scope: Scope) -> bool:
    """Whether a request may pass: from this machine, or for nodes."""
    host = (scope.get("client") or ("",))[0]
    try:
        if ipaddress.ip_address(host).is_loopback:
            return True
    except ValueError:
        pass  # no address: not from here
    path = str(scope["path"])
    return scope["type"] == "http" and (path.startswith("/v1/fleet/") or path == "/health")
