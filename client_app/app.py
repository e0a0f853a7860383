"""The ClientApp: it obeys plans and knows no method by name.

Torch is imported inside the handlers, so that a process that only loads the app stays small.
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from bract.messages import METRICS, REPORT

if TYPE_CHECKING:
    from client_app.client import Client

app = ClientApp()


def _client(context: Context) -> "Client":
    from client_app.client import Client

    return Client.of(context)


def _reply(message: Message, content: RecordDict) -> Message:
    return Message(content, reply_to=message)


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Say who this is and what adapter it would train; no weight is read for it."""
    card = _client(context).card()
    return _reply(message, RecordDict({REPORT: ConfigRecord({"card": json.dumps(card)})}))


@app.query("head")
def head(message: Message, context: Context) -> Message:
    """Give the server the head's first values, where the base model is needed to make them."""
    return _reply(message, _client(context).head())


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train as the plan says."""
    return _reply(message, _timed(lambda: _client(context).train(message.content)))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measure on the held-out part as the plan says."""
    return _reply(message, _timed(lambda: _client(context).evaluate(message.content)))


def _timed(work: Callable[[], RecordDict]) -> RecordDict:
    start = time.perf_counter()
    content = work()
    metrics: Any = content.setdefault(METRICS, MetricRecord())
    metrics["busy"] = time.perf_counter() - start
    return content


__all__ = ["app"]
