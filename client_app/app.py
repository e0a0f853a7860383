"""The ClientApp: it obeys plans and knows no method by name.

Torch is imported where the answer is made, so that a process that only loads the app stays small.
"""

import time
from typing import Any

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from bract.wire.messages import METRICS

app = ClientApp()


def _reply(kind: str, message: Message, context: Context) -> Message:
    from client_app.handlers import answer

    return Message(answer(kind, message.content, context), reply_to=message)


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Say who this is."""
    return _reply("join", message, context)


@app.query("head")
def head(message: Message, context: Context) -> Message:
    """Give the server the head's first values."""
    return _reply("head", message, context)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train as the plan says."""
    return _timed("train", message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measure on the held-out part as the plan says."""
    return _timed("evaluate", message, context)


def _timed(kind: str, message: Message, context: Context) -> Message:
    start = time.perf_counter()
    reply = _reply(kind, message, context)
    content: RecordDict = reply.content
    metrics: Any = content.setdefault(METRICS, MetricRecord())
    metrics["busy"] = time.perf_counter() - start
    return reply


__all__ = ["app"]
