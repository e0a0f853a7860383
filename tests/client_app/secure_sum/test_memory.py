"""What a member keeps: one vector for a number, one set of survivors, over kills at any moment and over replays."""

import json
import os
import random
from collections import defaultdict
from dataclasses import replace

import pytest

from bract.errors import BractError, PublicError
from bract.secure_sum.setup import Parameters
from bract.secure_sum.vector import HEADER
from bract.settings.read import read
from bract.wire.messages import PLAN, get_payload
from bract.wire.plan import KEY
from client_app.app import app as honest
from client_app.privacy.ledger import Ledger
from client_app.secure_sum import memory as module
from client_app.secure_sum.memory import Memory, Newest, new_seed
from server_app.rounds import run
from tests.flower.messages import written
from tests.harness import InProcessGrid
from tests.kept import keep

PARAMETERS = Parameters.of("f", 1, range(3), 1, 4)
KEYS = [b"one", b"two", b"three"]


@pytest.fixture
def memory(home):
    found = Memory("f", 1)
    with found.alone():
        yield found


def test_a_set_up_is_kept_as_it_was(memory):
    assert memory.agreed() is None
    begun = memory.begin(PARAMETERS, b"two", new_seed())
    assert memory.agreed() == begun == memory.begun(PARAMETERS)
    assert begun.print == b""
    agreed = memory.agree(begun, KEYS)
    assert memory.agreed() == agreed == memory.agree(agreed, KEYS)
    assert agreed.seed == begun.seed
    with pytest.raises(PublicError, match="other keys were sent"):
        memory.agree(agreed, [*KEYS[:2], b"four"])
    assert memory.agreed() == agreed


def test_older_and_other_set_ups_are_refused_and_a_newer_one_is_none_yet(memory):
    memory.begin(replace(PARAMETERS, generation=2), b"two", new_seed())
    for other in (PARAMETERS, replace(PARAMETERS, generation=2, rounds=5)):
        with pytest.raises(PublicError, match="not the newest here"):
            memory.begun(other)
    assert memory.begun(replace(PARAMETERS, generation=3)) is None


def test_a_number_is_for_one_request_and_numbers_rise(memory):
    assert memory.newest() == Newest()
    first = memory.start(3, "a", [0, 1, 2])
    assert first == memory.start(3, "a", [0, 1, 2]) == Newest(3, "a", (0, 1, 2))
    for number, request in ((3, "b"), (2, "a"), (2, "b"), (0, "")):
        with pytest.raises(PublicError, match="not newer than the newest here, which is 3"):
            memory.start(number, request, [0, 1, 2])
    memory.note(replace(first, context="c", sent=True, survivors=(0, 1)))
    assert memory.start(3, "a", [0, 1, 2]).survivors == (0, 1)  # asked again, it is the same round
    assert memory.start(4, "a", [0, 1, 2]) == Newest(4, "a", (0, 1, 2))


def test_an_older_rounds_reply_is_never_a_newer_ones_wherever_it_was_killed(memory, monkeypatch):
    memory.start(1, "a", [0, 1, 2])
    memory.keep_reply(1, b"the first")
    assert memory.reply(1) == b"the first"

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", killed)  # after the new round was noted, before the old reply is gone
        with pytest.raises(KeyboardInterrupt):
            memory.start(2, "b", [0, 1, 2])
    assert memory.newest().number == 2
    assert memory.reply(2) is None
    memory.start(3, "c", [0, 1, 2])
    assert list(memory.folder.glob("reply-*")) == []


def test_files_are_their_owners_alone_and_damage_is_named(memory):
    agreed = memory.agree(memory.begin(PARAMETERS, b"two", new_seed()), KEYS)
    memory.start(1, "a", [0, 1, 2])
    memory.keep_reply(1, b"the first")
    for path in memory.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert memory.folder.stat().st_mode & 0o077 == 0
    path = memory.folder / "setup.json"
    path.chmod(0o644)
    with pytest.raises(BractError, match="the secret of a sum"):
        memory.agreed()
    path.chmod(0o600)
    assert memory.agreed() == agreed
    for name, read_ in (("setup.json", memory.agreed), ("round.json", memory.newest)):
        whole = (memory.folder / name).read_bytes()
        for damage in (b"", whole[:-2], b"[]", b"{}"):
            (memory.folder / name).write_bytes(damage)
            with pytest.raises(BractError, match="damaged"):
                read_()
        (memory.folder / name).write_bytes(whole)


def test_federations_and_partitions_do_not_share_files(home):
    folders = {Memory(federation, partition).folder for federation in "fg" for partition in (0, 1)}
    assert len(folders) == 4
    assert len({new_seed() for _ in range(100)}) == 100


# -- Kills and replays ----------------------------------------------------------------------------


class KilledError(BaseException):
    """A process is no more: nothing that it would have done after this is done."""


class Unlucky:
    """Members whose processes are killed before or after they write a file, and are then asked again, or not."""

    def __init__(self, seed, patch):
        self.chance, self.left, self.kills, self.on = random.Random(seed), [], 0, True
        write, entry, keep = module.Memory._write, Ledger.write, Ledger.keep_reply
        for owner, name, whole in (
            (module.Memory, "_write", write),
            (Ledger, "write", entry),
            (Ledger, "keep_reply", keep),
        ):
            patch.setattr(owner, name, self.around(whole))

    def around(self, whole):
        def call(*args, **more):
            self.maybe()
            found = whole(*args, **more)
            self.maybe()
            return found

        return call

    def maybe(self):
        if self.on and self.chance.random() < 0.04:
            self.kills += 1
            raise KilledError

    def __call__(self, message, context):
        """The app of a node that is started again after each kill, and whose answers are asked for more than once."""
        replies = []
        for again in range(4):
            try:
                replies.append(honest(message, context))
            except KilledError:
                continue
            if again and self.chance.random() < 0.5:
                break
        if not replies or self.chance.random() < 0.05:
            raise RuntimeError("the node is gone")
        plan = message.content.config_records.get(PLAN)
        if plan is not None:
            federation = json.loads(plan[KEY])["federation"]
            self.left += [(federation, context.node_config["partition-id"], message, reply) for reply in replies]
        return replies[-1]


@pytest.mark.parametrize("seed", range(3))
def test_no_number_ever_masks_two_vectors_of_one_member(config, monkeypatch, seed):
    """Noise is drawn anew by every process, so a vector that was made a second time would be another one."""
    keep(monkeypatch)
    unlucky, chance = Unlucky(seed, monkeypatch), random.Random(seed)
    values = {
        "federation.sum": "secure",
        "federation.survivors": 3,
        "federation.colluders": 1,
        "federation.deadline": 1.0,
        "rounds": 4,
        "train.steps": 1,
        "train.engine": "opacus",
        "train.rate": 0.1,
        "data.holdout": 0.2,
        "privacy.unit": "example" if seed % 2 else "none",
        "privacy.noise": "shared" if seed % 2 else "local",
        "privacy.delta": 1e-4,
    }

    class Grid(InProcessGrid):
        def push_messages(self, messages):
            found = super().push_messages(messages)
            if chance.random() < 0.15 * unlucky.on:
                raise KilledError
            return found

    grids = []
    for attempt in range(12):
        unlucky.on = attempt < 6  # then the world is kind, so that the run comes to its end
        run_config = config({**values, "run.resume": attempt > 0 and os.path.exists(config()["run.folder"])})
        grids.append(Grid(4, run_config))
        grids[-1].app = unlucky
        try:
            folder = run(grids[-1], read(run_config))
            break
        except (KilledError, BractError):
            continue
    words, requests = defaultdict(set), defaultdict(set)
    for federation, partition, message, reply in unlucky.left:
        if "payload" in reply.content:
            data = get_payload(reply.content).tobytes()
            key = federation, partition, HEADER.unpack_from(data)[5]
            words[key].add(data)
            requests[key].add(written(message.content))
    assert len(words) >= 8
    assert all(len(every) == 1 for every in words.values())
    assert all(len(every) == 1 for every in requests.values())
    assert unlucky.kills > 3
    assert folder.rounds()[-1]["round"] == 4
