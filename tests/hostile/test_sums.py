"""A server, and clients, that mean harm in a secure sum: what they are refused, and what all that they collect is."""

import json
import random
import shutil
from base64 import b64decode
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from bract.errors import BractError
from bract.secure_sum import shamir
from bract.secure_sum.masks import Context
from bract.secure_sum.setup import SEALED, Keys, Secrets
from bract.secure_sum.vector import HEADER, Shape, Words, unpacked
from client_app.secure_sum.memory import Memory
from server_app.secure_sum.recovering import Answer, unmask
from strategies.sums import SumOfWords
from tests.hostile.sums import Members, SetUp, sum_record, told
from tests.kept import keep


@pytest.fixture
def members(home, config, monkeypatch):
    """Four, three of whom must survive; they train one step where they are asked to."""
    keep(monkeypatch)
    return Members(home, config({"federation.sum": "secure", "train.steps": 1, "train.engine": "opacus"}))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A set-up is made once, and its files are copied."""
    return tmp_path_factory.mktemp("begun") / "sums", []


@pytest.fixture
def set_up(members, begun):
    files, found = begun
    if found:
        shutil.copytree(files, members.home / "sums")
    else:
        found.append(members.agreed())
        shutil.copytree(members.home / "sums", files)
    return found[0]


def refused(members, reply, words, before):
    """In these words, with nothing else said and nothing changed on any disk."""
    assert words in reply.words, reply
    assert not {"sum/shares", "sum/boxes", "sum/keys", "sum/signature", "payload/payload"} & reply.fields.keys()
    assert members.files() == before


def sent(reply):
    assert reply.status == "done", reply
    return reply.payload


# -- Rounds -------------------------------------------------------------------------------------


OTHERWISE = "it was asked for this round otherwise, or for a newer one, before"


@pytest.mark.parametrize(
    "other",
    [
        {"value": 0.5},
        {"asked": [0, 1, 2]},
        {"joined": 1},
        {"trains": True},
        {"receives": ("A", "B")},
        {"changed": told(lambda record: {**record, "measure": True})},
        {"changed": told(lambda record: {**record, "slots": [0]})},
    ],
    ids=("value", "asked", "joined", "trains", "receives", "measure", "slots"),
)
def test_the_same_number_with_another_request_is_refused(members, set_up, other):
    first = sent(members.train(0, set_up, 1))
    before = members.files()
    reply = members.train(0, set_up, 1, **other)
    refused(members, reply, OTHERWISE, before)
    assert reply.fields["report/newest"] == 1
    assert sent(members.train(0, set_up, 1)) == first  # the first request still gets the very same bytes


def test_an_older_number_is_refused_and_the_newest_is_told(members, set_up):
    sent(members.train(0, set_up, 1))
    sent(members.train(0, set_up, 3))
    before = members.files()
    for number in (1, 2):
        reply = members.train(0, set_up, number)
        refused(members, reply, OTHERWISE, before)
        assert reply.fields["report/newest"] == 3


def test_a_request_that_was_answered_is_never_computed_again(members, set_up):
    one = sent(members.train(0, set_up, 1, trains=True))
    path = next(members.home.glob("sums/*/0/reply-1"))
    assert one in path.read_bytes()
    again = sent(members.train(0, set_up, 1, trains=True))
    assert again == one
    two = sent(members.train(0, set_up, 2, trains=True))
    assert one[HEADER.size :] != two[HEADER.size :]
    assert not path.exists()  # nothing of an older round is there to be sent for a newer one


def test_a_member_that_was_killed_after_its_reply_was_kept_sends_it_and_helps_to_unmask_it(
    members, set_up, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        keep_reply = Memory.keep_reply
        patch.setattr(Memory, "keep_reply", lambda *what: (keep_reply(*what), killed()))
        with pytest.raises(KeyboardInterrupt):
            members.train(0, set_up, 1, trains=True)
    kept = next(members.home.glob("sums/*/0/reply-1")).read_bytes()
    reply = members.train(0, set_up, 1, trains=True)
    assert sent(reply) in kept
    for i in (1, 2, 3):
        sent(members.train(i, set_up, 1, trains=True))
    contexts = {context_of(members, set_up, 1, i) for i in members.all}
    assert len(contexts) == 1  # by which they confirm the round
    assert all("sum/shares" in members.unmask(i, set_up, 1, members.all).fields for i in members.all)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"number": 5}, "no keys for this round"),
        ({"number": 0}, "no keys for this round"),
        ({"number": -1}, "no keys for this round"),
        ({"number": 1.0}, "no keys for this round"),
        ({"number": True}, "no keys for this round"),
        ({"asked": [0, 1]}, "at least 3 members are asked, and this one among them"),
        ({"asked": [1, 2, 3]}, "at least 3 members are asked, and this one among them"),
        ({"asked": []}, "at least 3 members are asked"),
        ({"asked": [0, 1, 2, 4]}, "not members, each once"),
        ({"asked": [-1, 0, 1, 2]}, "not members, each once"),
        ({"asked": [0, 0, 1, 2]}, "not members, each once"),
        ({"asked": [3, 2, 1, 0]}, "not members, each once"),
        ({"asked": [0.0, 1.0, 2.0]}, "does not say who is asked"),
        ({"asked": "0123"}, "does not say who is asked"),
        ({"slots": [2, 1]}, "should rise, within the layout"),
        ({"slots": [-1]}, "should rise, within the layout"),
        ({"slots": [10**6]}, "should rise, within the layout"),
        ({"print": bytes(32)}, "has not agreed on this set-up"),
        ({"print": b""}, "has not agreed on this set-up"),
    ],
    ids=str,
)
def test_a_round_that_is_none_is_refused(members, set_up, record, words):
    before = members.files()
    reply = members.train(0, set_up, 1, changed=told(lambda was: {**was, **record}))
    refused(members, reply, words, before)


def test_a_round_without_a_sum_or_of_another_set_up_is_refused(members, set_up):
    before = members.files()
    content = members.round(set_up, 1)
    del content["sum"]
    refused(members, members.ask("train", 0, content), "the message is not one of a secure sum", before)
    refused(members, members.train(0, set_up, 1, federation="g"), "has not agreed on this set-up", before)


def test_members_that_were_told_different_things_send_masks_that_do_not_cancel(members, set_up):
    """Another plan, model or list for one of them: the sum is noise to the last word."""
    values = Shape(0, 64, 1 + 4, members.layout.fingerprint)
    for number, (other, clean) in enumerate([({"value": 0.5}, False), ({"asked": [0, 1, 2]}, False), ({}, True)], 1):
        replies = [members.train(i, set_up, number, **(other if i == 1 else {})) for i in members.all]
        total = SumOfWords(Shape(0, 64, len(replies[0].payload[HEADER.size :]) // 8, values.layout), number)
        for reply in replies:
            total.take(np.frombuffer(sent(reply), dtype=np.uint8), None)
        for i in members.all:
            asked = other.get("asked", members.all) if i == 1 else members.all
            members.unmask(i, set_up, number, members.all if i != 1 or "asked" not in other else asked, asked=asked)
        figures = unmasked(members, set_up, number, total.total, members.all)
        assert (figures == [0] * len(figures)) is clean
        assert clean or 0 not in figures


def unmasked(members, set_up, number, words, survivors):
    """What a server that has all secrets of the members can make of a sum: it takes off what it believes is on it."""
    keys = [Keys.from_bytes(one, set_up.parameters) for one in set_up.keys]
    digest = context_of(members, set_up, number)
    at = number - set_up.parameters.first
    secrets = [Secrets(seed_of(members, i)) for i in members.all]
    assert all(secrets[i].keys(set_up.parameters).masks[at] == keys[i].masks[at] for i in members.all)
    dealt = {i: secrets[i].shares("self", number, set_up.parameters, members.all) for i in members.all}
    answers = {by: Answer({i: dealt[i][by] for i in members.all}) for by in members.all}
    unmask(words, Context(number, set_up.print, digest), set_up.parameters, keys, members.all, survivors, answers)
    return words.numbers()[1]


def context_of(members, set_up, number, member=0):
    found = json.loads(next(members.home.glob(f"sums/*/{member}/round.json")).read_text())
    assert found["number"] == number
    return bytes.fromhex(found["context"])


def seed_of(members, member):
    return b64decode(json.loads(next(members.home.glob(f"sums/*/{member}/setup.json")).read_text())["seed"])


# -- Unmasking ----------------------------------------------------------------------------------


@pytest.fixture
def trained(members, set_up):
    """A round for which all have sent their words."""
    for i in members.all:
        sent(members.train(i, set_up, 1))
    return set_up


@pytest.mark.parametrize(
    ("survivors", "words"),
    [
        ([0, 1], "not at least 3 of the members"),
        ([], "not at least 3 of the members"),
        ([0, 1, 4], "not at least 3 of the members"),
        ([-1, 0, 1], "not at least 3 of the members"),
        ([0, 0, 1], "not at least 3 of the members"),
        ([2, 1, 0], "not at least 3 of the members"),
        ([0.0, 1.0, 2.0], "names no survivors"),
        ([True, True, True], "names no survivors"),
        ("012", "names no survivors"),
    ],
)
def test_survivors_that_are_none_are_refused(members, trained, survivors, words):
    before = members.files()
    record = {"parameters": trained.parameters.to_text(), "number": 1, "survivors": survivors}
    content = sum_record(**record, boxes=trained.boxes_for(0, members.all, 1))
    refused(members, members.ask("unmask", 0, content), words, before)


def test_a_second_set_of_survivors_is_refused(members, trained):
    first = members.unmask(0, trained, 1, [0, 1, 2])
    assert len(first.fields["sum/shares"]) == 33 * 4
    before = members.files()
    for other in ([0, 1, 2, 3], [0, 1, 3], [1, 2, 3]):
        refused(members, members.unmask(0, trained, 1, other), "for other survivors before", before)
    assert members.unmask(0, trained, 1, [0, 1, 2]).fields == first.fields  # the same bytes, however often


def test_who_was_not_asked_is_no_survivor(members, set_up):
    for i in (0, 1, 2):
        sent(members.train(i, set_up, 1, asked=[0, 1, 2]))
    before = members.files()
    reply = members.unmask(0, set_up, 1, [0, 1, 2, 3])
    refused(members, reply, "not at least 3 of the members that were asked", before)


def test_a_member_that_sent_nothing_is_no_survivor(members, set_up):
    """Nor one that was not even asked in this round, whatever it has sent before."""
    sent(members.train(0, set_up, 1))
    reply = members.train(0, set_up, 2, trains=True, receives=("A", "B"), do=())
    sent(reply)
    before = members.files()
    refused(members, members.unmask(0, set_up, 3, members.all), "not the newest here, which is 2", before)
    refused(members, members.unmask(1, set_up, 1, members.all), "not the newest here, which is 0", before)


def test_who_abstained_is_no_survivor_and_helps_with_the_others(members, set_up, monkeypatch):
    from client_app.rounds import contributing

    monkeypatch.setattr(contributing, "declined", lambda client, plan: "it is too hot")
    reply = members.train(0, set_up, 1, trains=True)
    assert (reply.status, reply.words) == ("abstained", "it is too hot")
    before = members.files()
    refused(members, members.unmask(0, set_up, 1, members.all), "this member sent no vector", before)
    assert len(members.unmask(0, set_up, 1, [1, 2, 3]).fields["sum/shares"]) == 33 * 4


@pytest.mark.parametrize("unmasked_before", [False, True])
def test_an_older_round_is_not_unmasked(members, trained, unmasked_before):
    if unmasked_before:
        assert "sum/shares" in members.unmask(0, trained, 1, members.all).fields
    sent(members.train(0, trained, 2))
    before = members.files()
    refused(members, members.unmask(0, trained, 1, members.all), "not the newest here, which is 2", before)


def test_a_round_that_was_not_asked_is_not_unmasked(members, set_up):
    before = members.files()
    for number in (0, 1):
        refused(members, members.unmask(0, set_up, number, members.all, boxes=b""), "not the newest here", before)


def test_boxes_of_another_round_sender_or_receiver_are_refused(members, trained):
    right = [trained.box(sender, 0, 1) for sender in (1, 2, 3)]
    wrong = {
        "round": [trained.box(1, 0, 2), *right[1:]],
        "sender": [right[1], right[0], right[2]],
        "twice": [right[0], right[0], right[2]],
        "receiver": [trained.box(1, 2, 1), *right[1:]],
        "own": [trained.box(0, 1, 1), *right[1:]],
        "garbage": [bytes(SEALED), *right[1:]],
    }
    for boxes in wrong.values():
        reply = members.unmask(0, trained, 1, members.all, boxes=b"".join(boxes))
        assert "a box of shares is not for this member and round" in reply.words
        assert "sum/shares" not in reply.fields
    for boxes in (b"", right[0], b"".join(right) + b"\0", b"".join(right)[:-1]):
        reply = members.unmask(0, trained, 1, members.all, boxes=boxes)
        assert "does not carry a box of each neighbour" in reply.words
        assert "sum/shares" not in reply.fields
    assert "sum/shares" in members.unmask(0, trained, 1, members.all).fields


# -- Set-ups ------------------------------------------------------------------------------------


def test_keys_that_are_altered_swapped_or_doubled_are_refused(members):
    parameters = members.parameters()
    keys = [members.keys(i, parameters).fields["sum/keys"] for i in members.all]
    assert [members.keys(i, parameters).fields["sum/keys"] for i in members.all] == keys  # the same bytes again
    before = members.files()
    unaltered = "not one key message of each member, its own unaltered"
    flipped = keys[0][:40] + bytes([keys[0][40] ^ 1]) + keys[0][41:]
    for other, words in [
        ([flipped, *keys[1:]], unaltered),
        ([keys[1], keys[0], *keys[2:]], unaltered),
        ([keys[1], *keys[1:]], unaltered),
        (keys[:3], unaltered),
        ([*keys, keys[3]], unaltered),
        ([keys[0], keys[1], keys[1], keys[3]], "comes twice"),
        ([keys[0], keys[0], *keys[2:]], "comes twice"),
        ([keys[0], one_key_of(keys[1], keys[2]), *keys[2:]], "comes twice"),
        ([keys[0], keys[1][:-1], *keys[2:]], "not as long as it should be"),
        ([keys[0], keys[1][:2] + bytes(32) + keys[1][34:], *keys[2:]], "key of zeros"),
        ([], unaltered),
    ]:
        refused(members, members.deal(0, parameters, other), words, before)
    refused(
        members,
        members.ask("deal", 0, sum_record(parameters=parameters.to_text(), keys="none")),
        "carries no keys",
        before,
    )
    assert len(members.deal(0, parameters, keys).fields["sum/boxes"]) == 3 * 4 * SEALED
    after = members.files()
    swapped = [keys[0], keys[2], keys[1], keys[3]]
    refused(members, members.deal(0, parameters, swapped), "other keys were sent for this set-up before", after)


def one_key_of(message, other):
    """A message whose key for the second round is another member's."""
    at = 2 + 32 + 32
    return message[:at] + other[at : at + 32] + message[at + 32 :]


def test_keys_that_are_swapped_among_others_open_no_box(members):
    """Nobody can see it without a roster. But the print is another, or no box opens: nothing comes of it."""
    parameters = members.parameters()
    keys = [members.keys(i, parameters).fields["sum/keys"] for i in members.all]
    swapped = [keys[0], keys[2], keys[1], keys[3]]
    boxes = {i: members.deal(i, parameters, swapped if i in (0, 3) else keys).fields["sum/boxes"] for i in members.all}
    one, two = SetUp(parameters, tuple(keys), boxes), SetUp(parameters, tuple(swapped), boxes)
    before = members.files()
    refused(members, members.train(0, one, 1), "has not agreed on this set-up", before)
    refused(members, members.train(1, two, 1), "has not agreed on this set-up", before)
    sent(members.train(0, two, 1))
    sent(members.train(3, two, 1))
    for member in (0, 3):
        reply = members.unmask(member, two, 1, members.all)
        assert "a box of shares is not for this member and round" in reply.words
        assert "sum/shares" not in reply.fields


def test_a_server_does_not_go_back_to_an_older_set_up(members, set_up):
    members.agreed(members.parameters(generation=2))
    before = members.files()
    for other in (set_up.parameters, replace(set_up.parameters, generation=0), replace(set_up.parameters, rounds=5)):
        reply = members.keys(0, other)
        refused(members, reply, "", before)
        assert "is not the newest here" in reply.fields["sum/reason"]
        assert reply.fields["sum/newest"] == 2
        refused(members, members.deal(0, set_up.parameters, set_up.keys), "is not the newest here", before)
    refused(members, members.train(0, set_up, 1), "has not agreed on this set-up, or has lost it", before)
    refused(members, members.unmask(0, set_up, 1, members.all), "has not agreed on this set-up", before)


def test_a_new_set_up_does_not_make_a_number_new(members, trained):
    """Nor are the words of a number uncovered that were masked under the set-up before."""
    again = members.agreed(members.parameters(generation=2))
    before = members.files()
    refused(members, members.train(0, again, 1), OTHERWISE, before)
    reply = members.unmask(0, trained, 1, members.all)
    refused(members, reply, "has not agreed on this set-up, or has lost it", before)


def test_the_parameters_of_a_set_up_do_not_change_once_it_has_begun(members, set_up):
    before = members.files()
    for more in ({"rounds": 5}, {"first": 2}, {"survivors": 4}, {"members": (0, 1, 2, 4)}):
        reply = members.keys(0, replace(set_up.parameters, **more))
        refused(members, reply, "", before)
        assert "sum/reason" in reply.fields


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"threshold": 2}, "are needed to agree"),
        ({"threshold": 1}, "are needed to agree"),
        ({"threshold": 4}, "are needed to agree"),  # more than survive
        ({"survivors": 2}, "at least 2 honest ones"),
        ({"colluders": 2}, "at least 2 honest ones"),
        ({"colluders": -1}, "at least 2 honest ones"),
        ({"survivors": 5}, "at least 2 honest ones"),
        ({"members": (0, 1)}, "at least 3 members"),
        ({"members": (0, 0, 1, 2)}, "at least 3 members"),
        ({"members": (1, 2, 3)}, "client 0 is not among the set-up's members"),
        ({"rounds": 33}, "out of bounds"),
        ({"rounds": 0}, "out of bounds"),
        ({"generation": -1}, "out of bounds"),
        ({"federation": "../f"}, "federation is out of bounds"),
        ({"federation": ""}, "federation is out of bounds"),
        ({"federation": "f" * 65}, "federation is out of bounds"),
    ],
    ids=str,
)
def test_parameters_that_do_not_keep_the_promise_are_refused(members, more, words):
    before = members.files()
    parameters = members.parameters(**more)
    for kind in ("keys", "deal", "unmask", "confirm"):
        content = sum_record(parameters=parameters.to_text(), keys=[], number=1, survivors=[0, 1, 2], boxes=b"")
        refused(members, members.ask(kind, 0, content), words, before)
    for content in (sum_record(), sum_record(parameters=3), sum_record(parameters="{}")):
        reply = members.ask("keys", 0, content)
        assert "names no set-up" in reply.words or "cannot be read" in reply.words
    assert members.files() == before


# -- A random server ----------------------------------------------------------------------------


class Greedy:
    """A server that asks at random, and notes every share that anyone ever gave it, by what it is a share of."""

    def __init__(self, members: Members, seed: int) -> None:
        self.members, self.chance = members, random.Random(seed)
        self.set_ups = [members.agreed(members.parameters(rounds=12))]
        self.masks: dict[tuple[int, int, int], set[int]] = defaultdict(set)
        self.owns: dict[tuple[int, int, int], set[int]] = defaultdict(set)
        self.settled: dict[tuple[int, int], set[tuple[int, ...]]] = defaultdict(set)
        self.asked: dict[int, list[int]] = {}  # by member: of the newest round that it took part in
        self._dealt: dict[tuple[int, int, int, str], list[bytes]] = {}
        self.last = self.refusals = self.answers = 0

    def step(self) -> None:
        chance, what = self.chance, self.chance.random()
        set_up = chance.choice([self.set_ups[-1], *self.set_ups[-2:]])
        number = max(1, self.last + chance.choice([-1, 0, 0, 0, 1]))
        if what < 0.03 or not self.set_ups[-1].parameters.serves(self.last + 1):
            # It may begin below numbers that were used before.
            first = max(1, self.last + chance.choice([-2, 0, 1]))
            self.set_ups.append(self.members.agreed(self.members.parameters(len(self.set_ups) + 1, first, 12)))
        elif what < 0.2:
            asked = chance.choice([self.members.all, self.some()])
            self.train(chance.choice(self.members.all), set_up, number, asked, chance.choice([0.0, 0.5]))
        elif what < 0.45:  # a whole round, so that there is something to take
            for i in self.members.all:
                self.train(i, self.set_ups[-1], max(number, self.last), self.members.all)
        else:
            for i in self.members.all:
                self.unmask(i, set_up, number, chance.choice([self.some(), self.members.all]))

    def dealt(self, set_up: SetUp, of: int, number: int, kind: str) -> list[bytes]:
        """What a member has dealt of its secrets; for the newest set-up alone it still has the seed."""
        key = (set_up.parameters.generation, of, number, kind)
        if key not in self._dealt:
            self._dealt[key] = Secrets(seed_of(self.members, of)).shares(
                kind, number, set_up.parameters, range(len(set_up.parameters.members))
            )
        return self._dealt[key]

    def some(self) -> list[int]:
        """Three or four of them."""
        return sorted(self.chance.sample(self.members.all, self.chance.choice([3, 3, 4])))

    def train(self, member: int, set_up: SetUp, number: int, asked: list[int], value: float = 0.0) -> None:
        if self.members.train(member, set_up, number, asked=asked, value=value).status == "done":
            self.asked[member], self.last = asked, max(number, self.last)

    def unmask(self, member: int, set_up: SetUp, number: int, survivors: list[int]) -> None:
        asked = self.asked.get(member, self.members.all)
        shares = self.members.unmask(member, set_up, number, survivors, asked=asked).fields.get("sum/shares")
        if shares is None:
            self.refusals += 1
            return
        assert len(shares) == 33 * len(asked)
        self.answers += 1
        generation = set_up.parameters.generation
        self.settled[number, member].add(tuple(survivors))
        for place, of in enumerate(asked):
            share = shares[33 * place : 33 * place + 33]
            dealt = [self.dealt(set_up, of, number, kind)[member] for kind in ("mask", "self")]
            assert share in dealt
            kinds = [kind for kind, one in zip(("mask", "self"), dealt, strict=True) if one == share]
            assert len(kinds) == 1  # it is the one or the other's
            (self.masks if kinds == ["mask"] else self.owns)[generation, number, of].add(member)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_server_asks_it_never_has_both_secrets_of_a_member(members, seed):
    server = Greedy(members, seed)
    for _ in range(70):
        server.step()
    threshold = server.set_ups[0].parameters.threshold
    for key in server.masks.keys() | server.owns.keys():
        masks, owns = server.masks[key], server.owns[key]
        assert not masks & owns  # no member ever told both
        assert len(masks) < threshold or len(owns) < threshold
    for survivors in server.settled.values():
        assert len(survivors) == 1  # one set for a number, whatever the set-up
    for kind, _, _, reply in members.seen:  # and a member's own secret is in no answer of any kind
        if kind == "unmask":
            assert reply.fields.keys() <= {"sum/shares", "error"}
    assert server.answers > 10
    assert server.refusals > 10
    words = defaultdict(set)
    for kind, member, _, reply in members.seen:
        if kind == "train" and reply.status == "done":
            words[member, HEADER.unpack_from(reply.payload)[5]].add(reply.payload)
    assert len(words) > 10
    assert all(len(every) == 1 for every in words.values())


def test_two_stories_about_one_member_uncover_nothing(members, set_up):
    """It is told that it is in the sum, and all others that it is not: three shares of its mask key come, one of b."""
    y = sent(members.train(3, set_up, 1))
    for i in (0, 1, 2):
        sent(members.train(i, set_up, 1))
    others = [members.unmask(i, set_up, 1, [0, 1, 2]).fields["sum/shares"] for i in (0, 1, 2)]
    own = members.unmask(3, set_up, 1, members.all)
    secrets = Secrets(seed_of(members, 3))
    private = shamir.recover({i + 1: shares[99:] for i, shares in enumerate(others)})
    assert private == secrets.mask(1)  # the first half of what would be needed
    shares = own.fields["sum/shares"]
    assert own.fields.keys() == {"sum/shares"}
    assert shares[99:] == secrets.shares("self", 1, set_up.parameters, [3])[0]
    assert secrets.own(1) not in b"".join([*others, shares, y])
    words = unpacked(np.frombuffer(y, dtype=np.uint8), shape_of(members, y), 1)
    answers = {i: Answer.of(members.all, one) for i, one in enumerate([*others, shares])}
    keys = [Keys.from_bytes(one, set_up.parameters) for one in set_up.keys]
    context = Context(1, set_up.print, context_of(members, set_up, 1))
    with pytest.raises(BractError, match="cannot be taken off"):
        unmask(words, context, set_up.parameters, keys, members.all, [3], answers)


def shape_of(members, payload):
    return Shape(0, 64, (len(payload) - HEADER.size) // 8, members.layout.fingerprint)


# -- Clients ------------------------------------------------------------------------------------


def test_words_of_another_length_round_or_size_leave_no_trace_in_a_sum(members, set_up):
    replies = [sent(members.train(i, set_up, 1)) for i in members.all]
    shape = shape_of(members, replies[0])
    later = HEADER.pack(b"BRSM", 1, 64, shape.figures, 0, 2, 0, shape.layout) + replies[0][HEADER.size :]
    total = SumOfWords(shape, 1)
    other = Shape(2 * shape.figures, 32, 0, shape.layout)
    head = HEADER.pack(b"BRSM", 1, other.bits, other.figures, 0, 1, other.values, other.layout)
    for bad in (later, replies[0][:-1], replies[0] + b"\0", b"", head + replies[0][HEADER.size :], b"x" * len(later)):
        with pytest.raises(BractError, match="words"):
            total.take(np.frombuffer(bad, dtype=np.uint8), None)
    assert total.total.figures.tobytes() == Words.zeros(shape).figures.tobytes()
    for reply in replies:
        total.take(np.frombuffer(reply, dtype=np.uint8), None)
    assert unmasked(members, set_up, 1, total.total, members.all) == [0] * shape.figures
