"""What a client says to each kind of message, wherever it is computed."""

import json

from flwr.app import ConfigRecord, Context, RecordDict

from bract.errors import BractError
from bract.log import log
from bract.wire.messages import REPORT
from client_app.data import cache
from client_app.local_round import Client

ERROR = 40


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
    client = Client.of(context)
    cache.refresh(client.settings.data)
    if kind == "join":  # who this is and what adapter it would train; no weight is read for it
        return RecordDict({REPORT: ConfigRecord({"card": json.dumps(client.card())})})
    if kind == "head":  # the head's first values, where the base model is needed to make them
        return client.head()
    if kind == "train":
        return client.train(content)
    return client.evaluate(content)
