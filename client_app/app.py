"""The ClientApp: which function answers which message. It obeys plans and knows no method by name.

Torch is imported where the answer is made, so that a process that only loads the app stays small.
"""

import time
from typing import Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from bract.errors import BractError
from bract.log import log
from bract.wire.messages import METRICS, REPORT

ERROR = 40

app = ClientApp()


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Say who this is and what adapter it would train; no weight is read for it."""
    return Message(answer("join", message.content, context), reply_to=message)


@app.query("head")
def head(message: Message, context: Context) -> Message:
    """Give the server the head's first values, where the base model is needed to make them."""
    return Message(answer("head", message.content, context), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train as the plan says."""
    return _timed("train", message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measure on the held-out part as the plan says."""
    return _timed("evaluate", message, context)


def answer(kind: str, content: RecordDict, context: Context) -> RecordDict:
    """The content of the reply to a message of one of the four kinds.

    What the system says of a file goes to this device's log with the file's name, and to the server without.
    """
    try:
        return _answer(kind, content, context)
    except OSError as error:
        if error.filename is None:
            raise
        log(ERROR, "%s", error)
        raise BractError(f"{type(error).__name__}: [Errno {error.errno}] {error.strerror}") from None


def _answer(kind: str, content: RecordDict, context: Context) -> RecordDict:
    from client_app import joining, local_round, measuring
    from client_app.client import Client
    from client_app.data import cache

    client = Client.of(context)
    cache.refresh(client.settings.data)
    if kind == "join":
        return RecordDict({REPORT: ConfigRecord({"card": joining.card(client).to_text()})})
    if kind == "head":
        return joining.head(client)
    if kind == "train":
        return local_round.train_round(client, content)
    return measuring.evaluate(client, content)


def _timed(kind: str, message: Message, context: Context) -> Message:
    start = time.perf_counter()
    content = answer(kind, message.content, context)
    metrics: Any = content.setdefault(METRICS, MetricRecord())
    metrics["busy"] = time.perf_counter() - start
    return Message(content, reply_to=message)


__all__ = ["app"]
