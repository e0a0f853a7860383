"""A SuperNode without its SuperLink: Flower's own node state and Runtime API, from which a trainer takes its tasks."""

import hashlib
import secrets
import threading
import time
from types import TracebackType

import uvicorn
from flwr.app import Context, Error, Message
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory

from bract.processes import free_port
from tests.flower.messages import identify, stamp

JUNK = b"no app at all"  # what the server sent as its app: were it run, or only unpacked, the answer would be an error
APP = Fab(hashlib.sha256(JUNK).hexdigest(), JUNK, {})


class Node:
    """It serves for the block. `answer` does what Flower's SuperNode does with a message that has come."""

    def __init__(self) -> None:
        factory = NodeStateFactory(objectstore_factory=ObjectStoreFactory())
        self.state, self.secret = factory.state(), secrets.token_bytes(32)
        self.state.set_node_id(1)
        identify()  # whose messages these are
        host, port = "127.0.0.1", free_port()
        self.address = f"{host}:{port}"
        app = create_app(factory, self.secret)
        self._server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run)
        self.taken: list[str] = []  # the kinds of messages that were answered

    def __enter__(self) -> "Node":
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def begin(self, message: Message, context: Context) -> Message:
        """A task for a message; the message as the node keeps it."""
        run = Run.create_empty(context.run_id)
        run.fab_hash, run.series_id = APP.hash_str, context.run_id
        self.state.set_run_series_context(run.series_id, context)
        self.state.store_run(run)
        self.state.store_fab(APP)
        self.state.create_task(task_type=TaskType.CLIENT_APP, run_id=run.run_id, fab_hash=APP.hash_str)
        stamp(message, run_id=run.run_id)
        with no_object_id_recompute():
            stamp(message, message_id=message.object_id)
            self.state.object_store.preregister(run.run_id, get_object_tree(message))
            for object_id, part in get_all_nested_objects(message).items():
                self.state.object_store.put(object_id, part.deflate())
            self.state.store_message(message)
        return message

    def reply(self, message: Message, seconds: float = 60) -> Message:
        """The reply to a message, once it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for reply in self.state.get_messages_legacy(is_reply=True):
                if reply.metadata.reply_to_message_id == message.metadata.message_id:
                    tree = self.state.object_store.get_object_tree(reply.metadata.message_id)
                    return self._whole(reply, tree)
            time.sleep(0.02)
        raise TimeoutError("no reply")

    def _whole(self, reply: Message, tree: ObjectTree) -> Message:
        contents: dict[str, bytes] = {}
        left = [tree]
        while left:
            part = left.pop()
            left += list(part.children)
            while not (found := self.state.object_store.get(part.object_id)):
                time.sleep(0.01)
            contents[part.object_id] = found
        whole = inflate_object_from_contents(tree.object_id, contents)
        assert isinstance(whole, Message)
        return whole

    def answer(self, message: Message, context: Context) -> Message:
        """As the ClientApp itself is called; an error is raised."""
        self.taken.append(message.metadata.message_type)
        name = message.metadata.message_id
        reply = self.reply(self.begin(message, context))
        stamp(message, message_id=name)
        while any(task.status.status != "finished" for task in self.state.get_tasks()):
            time.sleep(0.01)  # the trainer's last word puts the context back, which the next message changes
        if reply.has_error():
            raise AnsweredError(reply.error)
        return Message(reply.content, reply_to=message)


class AnsweredError(Exception):
    """An error reply."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.reason)
