"""The ClientApp: which function answers which message. It obeys plans and knows no method by name.

Torch is imported where the answer is made, so that a process that only loads the app stays small.
"""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from bract.faults import leaving
from bract.wire.messages import METRICS, REPORT
from client_app import audit
from client_app.policy.judge import has_own

if TYPE_CHECKING:
    from client_app.client import Client

app = ClientApp()


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Say who this is and what adapter it would train; no weight is read for it."""
    return Message(answer("join", message.content, context), reply_to=message)


@app.query("head")
def head(message: Message, context: Context) -> Message:
    """Give the server the head's first values, where the base model is needed to make them."""
    return Message(answer("head", message.content, context), reply_to=message)


@app.query("keys")
def keys(message: Message, context: Context) -> Message:
    """Give public keys for a secure sum."""
    return Message(answer("keys", message.content, context), reply_to=message)


@app.query("deal")
def deal(message: Message, context: Context) -> Message:
    """Give the other members of a secure sum sealed shares of its secrets."""
    return Message(answer("deal", message.content, context), reply_to=message)


@app.query("confirm")
def confirm(message: Message, context: Context) -> Message:
    """Sign whose words are in a secure sum."""
    return Message(answer("confirm", message.content, context), reply_to=message)


@app.query("unmask")
def unmask(message: Message, context: Context) -> Message:
    """Help to take the masks off a secure sum."""
    return Message(answer("unmask", message.content, context), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train as the plan says."""
    return Message(answer("train", message.content, context), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measure on the held-out part as the plan says."""
    return Message(answer("evaluate", message.content, context), reply_to=message)


def answer(kind: str, content: RecordDict, context: Context) -> RecordDict:
    """The content of the reply to a message of one of the kinds above.

    Guaranteed: what goes wrong at a node with data of its own leaves it as words that hold nothing of the data
    (PublicError), or as the id of a line in the node's log. In a simulation faults are told in full.
    """
    try:
        audit.require_writable(context)
        reply = _answer(kind, content, context)
        audit.note(context, kind, reply)
    except Exception as error:
        found = leaving(error, own=has_own(context.node_config, context.run_config))
        with suppress(OSError):  # where it is the log itself that cannot be written
            audit.note(context, kind, str(found))
        if found is error:
            raise
        raise found from None
    return reply


def _answer(kind: str, content: RecordDict, context: Context) -> RecordDict:
    from client_app import joining
    from client_app.client import Client
    from client_app.data import cache
    from client_app.rounds import measuring

    start = time.perf_counter()
    client = Client.of(context)
    cache.refresh(client.settings.data)
    if kind == "join":
        return RecordDict({REPORT: ConfigRecord({"card": joining.card(client).to_text()})})
    if kind == "head":
        return joining.head(client)
    if kind in ("keys", "deal", "confirm", "unmask"):
        return _of_sum(kind, client, content)
    reply = (measuring.evaluate if kind == "evaluate" else _train)(client, content)
    if client.tells_time:
        metrics: Any = reply.setdefault(METRICS, MetricRecord())
        metrics["busy"] = time.perf_counter() - start
    return reply


def _train(client: "Client", content: RecordDict) -> RecordDict:
    from client_app.rounds import contributing, local_round

    plain = client.settings.federation.sum == "plain"
    return (local_round.train_round if plain else contributing.contribute)(client, content)


def _of_sum(kind: str, client: "Client", content: RecordDict) -> RecordDict:
    from client_app.secure_sum import agreeing, unmasking

    of = {"keys": agreeing.keys, "deal": agreeing.deal, "confirm": unmasking.confirm, "unmask": unmasking.unmask}
    return of[kind](client, content)


__all__ = ["app"]
