"""Messages as Flower makes them: whose they are, what it alone may write into them, their bytes on the wire."""

from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.supercore.task_identity import TaskIdentity


def identify(run: int = 1, node: int = 0) -> None:
    """Whose messages this process makes. Flower tells its own processes; without it a message cannot be made."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run, node


def stamp(message: Message, **values: Any) -> Message:
    """Write into a message's metadata what Flower alone may set: `message_id`, `reply_to_message_id`, `src_node_id`."""
    for name, value in values.items():
        assert hasattr(message.metadata, name), name
        message.metadata.__dict__[f"_{name}"] = value
        assert getattr(message.metadata, name) == value, name
    return message


def written(content: RecordDict) -> bytes:
    """A message's content as it goes over the wire."""
    return recorddict_to_proto(content).SerializeToString()


def read_back(data: bytes) -> RecordDict:
    """What `written` wrote."""
    return recorddict_from_proto(RecordDictProto.FromString(data))
