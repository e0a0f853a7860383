"""Messages that Flower does not take."""

from uuid import uuid4

import pytest

from bract.errors import BractError
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.wire.messages import TRAIN
from server_app.rounds import run
from tests.flower.messages import stamp
from tests.harness import InProcessGrid


class Refusing(InProcessGrid):
    """As Flower, which says None where the node of a message has left, and nothing at all where one is too large."""

    too_large = False

    def push_messages(self, messages):
        ids = []
        for message in messages:
            gone = message.metadata.message_type == TRAIN and self.nodes[message.metadata.dst_node_id] == 1
            stamp(message, message_id=str(uuid4()))
            ids += [None] if gone else super().push_messages([message])
        return [] if self.too_large and None in ids else ids


def test_a_node_that_left_is_named_at_once(config):
    settings = config({"federation.deadline": 30.0})
    folder = run(Refusing(3, settings), read(settings))
    lost = [row for row in read_rows(folder.path / "clients.jsonl") if row["partition"] == 1]
    assert [row["status"] for row in lost] == ["failed"] * 2
    assert all(row["reason"].startswith("its node has left") for row in lost)
    assert all(row["seconds"] < 20 for row in folder.rounds())  # nobody waits for it


def test_a_message_that_is_too_large(config):
    settings = config({})
    grid = Refusing(3, settings)
    grid.too_large = True
    with pytest.raises(BractError, match="too large for the SuperLink"):
        run(grid, read(settings))
