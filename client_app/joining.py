"""What a client says before any training: who it is, and the head's first values."""

from flwr.app import RecordDict

import bract
from bract.adapter.layout import Parts
from bract.models import base_model
from bract.wire.cards import ClientCard
from bract.wire.messages import PAYLOAD, payload_record
from bract.wire.payload import Payload, pack
from client_app.client import Client


def card(client: Client) -> ClientCard:
    """What the server compares before any training."""
    return ClientCard(
        partition=client.partition,
        partitions=client.clients,
        rank=client.rank,
        version=bract.__version__,
        base=base_model.fingerprint(client.shape.place),
        layout=client.layout,
        task=client.task.name,
        outputs=client.outputs.size,
        labels=client.outputs.names,
        descriptions=client.outputs.digest,
        pooling=client.shape.pooling,
        head_init=client.shape.head_init,
    )


def head(client: Client) -> RecordDict:
    """The head's first values, packed as round 0."""
    parts: Parts = {"head": client.first()["head"]}
    return RecordDict({PAYLOAD: payload_record(pack(client.layout, Payload(0, parts)))})
