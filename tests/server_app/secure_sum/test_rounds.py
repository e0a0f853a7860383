"""Whole runs whose server sees sums alone: exact, with losses in every place, and after every stop."""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Error, Message

from bract.adapter.initial import draw
from bract.errors import BractError
from bract.results.run_folder import read_rows
from bract.secure_sum.setup import Parameters
from bract.secure_sum.vector import HEADER
from bract.settings.read import read
from bract.wire.messages import DEAL, KEYS, SUM, TRAIN, UNMASK, get_payload, payload_record
from server_app.checkpoint import Checkpoint
from server_app.rounds import run
from server_app.secure_sum.agreeing import SetUp
from tests.flower.messages import read_back, stamp
from tests.harness import InProcessGrid
from tests.kept import keep

METHODS = {
    "ffa": {},
    "rolora": {},
    "fedit": {},
    "fedsa": {},
    "lora-a2": {"strategy.score": "released", "federation.ranks": "1.5"},
}
NOISE = {
    "privacy.noise": "shared",
    "privacy.test-seed": "1",
    "privacy.delta": 1e-4,
    "train.rate": 0.25,
    "server.lr": 0.5,
}
UNITS = {
    "example": {"privacy.unit": "example", **NOISE},
    "example, 16 bits": {"privacy.unit": "example", **NOISE, "wire.codec": "float16"},
    "example, lora-a2": {"privacy.unit": "example", **NOISE, "strategy.name": "lora-a2", **METHODS["lora-a2"]},
    "person": {"privacy.unit": "person", "data.user": "user", **NOISE, "privacy.delta": 1e-3},
    "client": {"privacy.unit": "client", **NOISE, "privacy.delta": 1e-2},
}
FOUR = {"federation.survivors": 3, "federation.colluders": 1, "rounds": 1}  # of 4 clients; 3 shares give a secret


class StoppedError(Exception):
    """The server is no more."""


class Losses:
    """Replies that get lost, by (type, client): which times. And those that come late, when others are given out."""

    def __init__(self, lost=None, late=False):
        self.lost, self.late, self.kept, self.seen = lost or {}, late, [], Counter()

    def tamper(self, partition, reply):
        key = (reply.metadata.message_type, partition)
        self.seen[key] += 1
        if self.seen[key] not in self.lost.get(key, ()):
            return reply
        self.kept.append(reply)
        error = Message(Error(2, "BractError: the node has died"), reply_to=reply)
        return stamp(
            error,
            reply_to_message_id=reply.metadata.reply_to_message_id,
            src_node_id=reply.metadata.src_node_id,
        )

    def order(self, replies):
        now = {reply.metadata.reply_to_message_id for reply in replies}
        late = [reply for reply in self.kept if reply.metadata.reply_to_message_id not in now]
        return [*late, *replies] if self.late else replies


class StoppingGrid(InProcessGrid):
    """The server is killed when it is about to ask for the last time of so many, or to look what came."""

    def __init__(self, *args, stop=None, **more):
        super().__init__(*args, **more)
        self.stop = dict(stop or {})  # by type: before which push

    def push_messages(self, messages):
        messages = list(messages)
        kind = messages[0].metadata.message_type if messages else ""
        if kind in self.stop:
            self.stop[kind] -= 1
            if self.stop[kind] == 0:
                raise StoppedError(kind)
        found = super().push_messages(messages)
        if f"{kind} sent" in self.stop:
            self.stop[f"{kind} sent"] -= 1
            if self.stop[f"{kind} sent"] == 0:
                raise StoppedError(kind)
        return found


@pytest.fixture
def play(config, tmp_path, monkeypatch):
    """A run of its own folder by name; the same name again goes on with it."""
    keep(monkeypatch)

    def go(name, values=None, clients=4, losses=None, stop=None):
        folder = tmp_path / name
        more = {"run.resume": folder.exists(), "run.folder": str(folder)}
        values = {"train.steps": 1, "train.engine": "opacus", "federation.sum": name, **(values or {}), **more}
        if values["federation.sum"] not in ("plain", "secure", "unmasked"):
            values["federation.sum"] = "secure"
        run_config, losses = config(values), losses or Losses()
        grid = StoppingGrid(clients, run_config, tamper=losses.tamper, order=losses.order, stop=stop)
        if stop:
            with pytest.raises(StoppedError):
                run(grid, read(run_config))
            return None, grid
        return run(grid, read(run_config)), grid

    return go


@dataclass(frozen=True)
class Reference:
    """What a run without masks and stops leaves."""

    state: Checkpoint
    rows: list
    privacy: str


REFERENCES = {}


@pytest.fixture
def reference(play):
    """A run in the open, by its settings and losses: each is made once."""

    def find(values, clients=4, lost=None):
        key = repr((sorted(values.items()), clients, lost))
        if key not in REFERENCES:
            more = {**values, "federation.sum": "unmasked"}
            folder, _ = play(f"open {len(REFERENCES)}", more, clients, Losses(lost))
            privacy = folder.path / "privacy.json"
            found = Reference(state(folder), folder.rounds(), privacy.read_text() if privacy.exists() else "")
            REFERENCES[key] = found
        return REFERENCES[key]

    return find


def promised(statement):
    """All of a statement of privacy but against whom it holds, where one of two runs is without masks."""
    found = json.loads(statement)
    del found["against"]["server"]
    return found


def state(folder):
    return Checkpoint.load(folder.checkpoint)


def same(one, two):
    """Bit by bit, with what the server's optimizer remembers."""
    pairs = [
        (getattr(a, name) if name else a, getattr(b, name) if name else b)
        for a, b, name in (
            (one.parts, two.parts, ""),
            (one.moments, two.moments, "first"),
            (one.moments, two.moments, "second"),
        )
    ]
    return all(a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a) for a, b in pairs)


def trained(found):
    """Whether any round has changed the model."""
    first = draw(found.layout, 0, pooled=False)
    return any((found.parts[part] != first[part]).any() for part in found.parts)


def sent(grid):
    """By number and client: the arrays of words that left it."""
    found = {}
    for kind, partition, _, reply in grid.log:
        if kind == TRAIN and reply and "payload" in (content := read_back(reply)):
            data = get_payload(content).tobytes()
            found.setdefault((HEADER.unpack_from(data)[5], partition), set()).add(data)
    return found


def asked(grid, kind):
    """What the server said of the sum in its messages of a type, in order."""
    return [(partition, read_back(request)[SUM]) for k, partition, request, _ in grid.log if k == kind]


def statuses(folder, round_=1):
    return [row["status"] for row in read_rows(folder.path / "clients.jsonl") if row["round"] == round_]


# -- Exactness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_secure_and_unmasked_give_the_same_bits(play, name):
    values = {"strategy.name": name, "rounds": 2, **METHODS[name]}
    (secure, masked), (open_, unmasked) = (play(kind, values, 3) for kind in ("secure", "unmasked"))
    one, two = state(secure), state(open_)
    assert same(one, two)
    assert trained(one)
    hidden, shown = sent(masked), sent(unmasked)
    assert hidden.keys() == shown.keys() == {(m, i) for m in (1, 2, 3) for i in range(3)}
    for key in hidden:  # what travels is as long, and nothing of it is what it would be in the open
        (a,), (b,) = hidden[key], shown[key]
        assert a[: HEADER.size] == b[: HEADER.size]
        words = [np.frombuffer(x[HEADER.size :], dtype="<u8") for x in (a, b)]
        assert (words[0] != words[1]).all()
    figures = ("accuracy", "loss", "clients", "failed", "upload_values")
    for a, b in zip(secure.rounds(), open_.rounds(), strict=True):
        assert [a[f] for f in figures] == [b[f] for f in figures]
    assert all(row["accuracy"] is not None for row in secure.rounds())


@pytest.mark.parametrize("name", METHODS)
def test_the_sum_gives_the_mean_that_a_server_makes_who_sees_each(play, reference, name):
    # After one step of Adam all slots have moved as far, and which are selected would hang on rounding.
    values = {"strategy.name": name, "rounds": 2, "train.steps": 3, **METHODS[name]}
    plain, _ = play("plain", values, 3)
    one, two = reference(values, 3), state(plain)
    print(
        "ST",
        statuses(plain, 2),
        [r["reason"] for r in read_rows(plain.path / "clients.jsonl")],
        [r["upload_values"] for r in plain.rounds()],
        [r["upload_values"] for r in one.rows],
    )
    for part in two.parts:
        np.testing.assert_allclose(one.state.parts[part], two.parts[part], atol=2e-6)
    for a, b in zip(one.rows, plain.rounds(), strict=True):
        assert a["accuracy"] == pytest.approx(b["accuracy"])
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-3)


@pytest.mark.parametrize("unit", UNITS)
def test_secure_and_unmasked_give_the_same_bits_under_shared_noise(play, reference, unit):
    values = {"rounds": 2, **UNITS[unit]}
    secure, masked = play("secure", values, 3)
    open_ = reference(values, 3)
    assert same(state(secure), open_.state)
    assert trained(state(secure))
    assert all(len(arrays) == 1 for arrays in sent(masked).values())
    text = (secure.path / "privacy.json").read_text()
    servers = [json.loads(one)["against"]["server"] for one in (text, open_.privacy)]
    assert servers == ["honest-but-curious", "trusted: sums are unmasked"]
    assert promised(text) == promised(open_.privacy)


# -- Losses -------------------------------------------------------------------------------------


def test_who_is_lost_before_its_words_is_not_in_the_sum(play, reference):
    lost = {(TRAIN, 1): [1]}
    secure, grid = play("secure", FOUR, losses=Losses(lost))
    open_ = reference(FOUR, lost=lost)
    whole = reference(FOUR)
    assert same(state(secure), open_.state)
    assert not same(state(secure), whole.state)
    assert trained(state(secure))
    assert statuses(secure) == ["merged", "failed", "merged", "merged"]
    assert [list(record["survivors"]) for _, record in asked(grid, UNMASK)[:4]] == [[0, 2, 3]] * 4


def test_who_is_lost_after_its_words_is_in_the_sum(play, reference):
    secure, _ = play("secure", FOUR, losses=Losses({(UNMASK, 1): [1]}))
    open_ = reference(FOUR)
    assert same(state(secure), open_.state)
    assert trained(state(secure))
    assert statuses(secure) == ["merged"] * 4


def test_losses_before_and_after_at_once(play, reference):
    """The one that was lost first is back and helps: with it there are three answers."""
    secure, _ = play("secure", FOUR, losses=Losses({(TRAIN, 1): [1], (UNMASK, 2): [1]}))
    open_ = reference(FOUR, lost={(TRAIN, 1): [1]})
    assert same(state(secure), open_.state)
    assert trained(state(secure))


@pytest.mark.parametrize("kind", [TRAIN, UNMASK])
def test_too_many_lost_and_nothing_is_released_and_the_run_goes_on(play, reference, kind, capsys):
    values = {**FOUR, "rounds": 2}
    lost = {(kind, 1): [1], (kind, 2): [1]}
    secure, grid = play("secure", values, losses=Losses(lost))
    out = capsys.readouterr().out
    assert "round 1: nothing is released, and the model stays as it is" in out
    assert set(statuses(secure, 1)) == {"failed"}
    assert statuses(secure, 2) == ["merged"] * 4
    assert [row["clients"] for row in secure.rounds()] == [0, 0, 4]
    # Round 2 began where round 1 did: it is a first round but for its number.
    other = reference(values, lost={(TRAIN, 1): [1], (TRAIN, 2): [1]})
    assert same(state(secure), other.state)
    assert trained(state(secure))
    set_ups = [Parameters.from_text(str(record["parameters"])) for _, record in asked(grid, KEYS)]
    assert [(one.generation, one.first) for one in set_ups] == [(1, 1)] * 4 + [(2, 2)] * 4
    assert all(len(arrays) == 1 for arrays in sent(grid).values())


def test_a_first_round_without_enough_of_them_changes_nothing(play):
    lost = {(TRAIN, i): [1] for i in range(4)}
    with pytest.raises(BractError, match="round 1: no client trains; client 0"):
        play("secure", FOUR, losses=Losses(lost))


@pytest.mark.parametrize("kind", [KEYS, DEAL])
def test_who_is_lost_while_a_set_up_is_made_is_left_out_of_it(play, kind):
    secure, grid = play("secure", {**FOUR, "rounds": 2}, losses=Losses({(kind, 1): [1]}))
    assert trained(state(secure))
    set_up = SetUp.load(secure.checkpoint.parent / "setup.safetensors")
    assert set_up.parameters.members == (0, 2, 3)
    assert set_up.parameters.generation == 2
    assert [row["clients"] for row in secure.rounds()] == [0, 3, 3]
    assert {partition for _, partition in sent(grid)} == {0, 2, 3}


def test_too_few_in_a_set_up(play):
    with pytest.raises(BractError, match="at least 3 members, each once; there are 2"):
        play("secure", FOUR, losses=Losses({(KEYS, 1): [1], (KEYS, 2): [1]}))


def test_a_late_reply_is_put_aside(play, reference):
    """It comes beside the answers of every later exchange, and is never taken for one of them."""
    values, lost = {**FOUR, "rounds": 2}, {(TRAIN, 1): [1]}
    late = Losses(lost, late=True)
    secure, _ = play("secure", values, losses=late)
    open_ = reference(values, lost=lost)
    assert len(late.kept) == 1
    assert late.kept[0].has_content()
    assert same(state(secure), open_.state)
    assert statuses(secure, 1)[1] == "failed"
    assert statuses(secure, 2) == ["merged"] * 4


def test_a_member_that_lost_its_secret_abstains_until_the_next_set_up(play, home):
    """Its files are gone between two runs; the others' sum goes on without it, then nothing is agreed on anew."""
    folder, _ = play("run", {**FOUR, "rounds": 2}, stop={UNMASK: 2})
    (federation,) = (home / "sums").iterdir()
    for path in (federation / "1").iterdir():
        path.unlink()
    folder, grid = play("run", {**FOUR, "rounds": 2})
    assert trained(state(folder))
    assert all(len(arrays) == 1 for arrays in sent(grid).values())


# -- Clients that mean harm ---------------------------------------------------------------------


def shorter(data):
    return data[:-1]


def of_another_round(data):
    return data[:8] + (7).to_bytes(4, "little") + data[12:]


def of_another_size(data):
    magic, version, bits, figures, zero, number, values, layout = HEADER.unpack_from(data)
    return HEADER.pack(magic, version, 96 - bits, figures, zero, number, values * 2, layout) + data[HEADER.size :]


class Harm(Losses):
    """Some clients' words or shares are changed on their way."""

    def __init__(self, kind, clients, change):
        super().__init__()
        self.kind, self.clients, self.change = kind, clients, change

    def tamper(self, partition, reply):
        if reply.metadata.message_type != self.kind or partition not in self.clients:
            return reply
        if self.kind == TRAIN:
            data = self.change(get_payload(reply.content).tobytes())
            reply.content["payload"] = payload_record(np.frombuffer(data, dtype=np.uint8))
        else:
            reply.content[SUM]["shares"] = self.change(reply.content[SUM]["shares"])
        return reply


@pytest.mark.parametrize("change", [shorter, of_another_round, of_another_size])
def test_words_that_are_not_the_rounds_are_left_out_by_name(play, reference, change):
    secure, _ = play("secure", FOUR, losses=Harm(TRAIN, [1], change))
    open_ = reference(FOUR, lost={(TRAIN, 1): [1]})
    assert same(state(secure), open_.state)
    assert statuses(secure) == ["merged", "refused", "merged", "merged"]
    row = read_rows(secure.path / "clients.jsonl")[1]
    assert "words" in row["reason"]


def wrong(shares):
    return bytes([shares[0] ^ 1]) + shares[1:33] + b"\xff" * 33 + bytes(33) + shares[99:]


@pytest.mark.parametrize("change", [shorter, wrong])
def test_one_members_bad_shares_change_nothing_and_two_members_nothing_but_the_release(play, reference, change, capsys):
    secure, _ = play("secure", FOUR, losses=Harm(UNMASK, [1], change))
    open_ = reference(FOUR)
    assert same(state(secure), open_.state)
    two, _ = play("two", FOUR, losses=Harm(UNMASK, [1, 3], change))
    assert not trained(state(two))
    assert set(statuses(two)) == {"failed"}
    assert "right ones are needed" in capsys.readouterr().out


# -- Stops --------------------------------------------------------------------------------------


def test_a_run_that_goes_on_gives_what_one_without_a_stop_gives(play, reference):
    whole = reference({"rounds": 3}, 3)
    play("run", {"rounds": 1}, 3)
    folder, grid = play("run", {"rounds": 3}, 3)
    assert same(state(folder), whole.state)
    assert len(folder.rounds()) == 4
    numbers = sorted({number for number, _ in sent(grid)})
    assert numbers == [3, 4, 5]  # 1 was trained with, and 2 measured with, before


@pytest.mark.parametrize(
    "stop", [{KEYS: 1}, {DEAL: 1}, {TRAIN: 2}, {f"{TRAIN} sent": 2}, {UNMASK: 2}, {f"{UNMASK} sent": 2}]
)
def test_a_run_that_was_killed_anywhere_gives_what_one_that_was_not_gives(play, reference, stop):
    values = {"rounds": 2, **UNITS["example"]}
    _, before = play("run", values, 3, stop=stop)
    folder, after = play("run", values, 3)
    whole = reference(values, 3)
    assert same(state(folder), whole.state)
    assert trained(state(folder))
    together = sent(before)
    for key, arrays in sent(after).items():
        together.setdefault(key, set()).update(arrays)
    assert all(len(arrays) == 1 for arrays in together.values())
    assert promised((folder.path / "privacy.json").read_text()) == promised(whole.privacy)


@pytest.mark.parametrize("sent_", ["", " sent"])
def test_a_server_that_was_killed_after_survivors_were_written_keeps_to_them(play, reference, sent_):
    """Though all could answer now: the words that it has are of three."""
    lost = {(TRAIN, 1): [1]}
    _, before = play("run", FOUR, losses=Losses(lost), stop={f"{UNMASK}{sent_}": 1})
    folder, after = play("run", FOUR)
    open_ = reference(FOUR, lost=lost)
    assert same(state(folder), open_.state)
    survivors = [list(record["survivors"]) for grid in (before, after) for _, record in asked(grid, UNMASK)]
    number = [record["number"] for grid in (before, after) for _, record in asked(grid, UNMASK)]
    assert [one for one, m in zip(survivors, number, strict=True) if m == 1] == [[0, 2, 3]] * (8 if sent_ else 4)
    assert 1 not in {m for m, _ in sent(after)}  # nobody was asked to train again
    assert statuses(folder) == ["merged", "failed", "merged", "merged"]


@pytest.mark.parametrize("stop", [{KEYS: 2}, {DEAL: 1}, {TRAIN: 1}, {f"{TRAIN} sent": 1}, {UNMASK: 1}])
def test_a_server_that_was_killed_after_a_loss_in_its_first_set_up_goes_on(play, stop):
    _, before = play("run", FOUR, losses=Losses({(KEYS, 1): [1]}), stop=stop)
    folder, after = play("run", FOUR)
    assert trained(state(folder))
    together = sent(before)
    for key, arrays in sent(after).items():
        together.setdefault(key, set()).update(arrays)
    assert all(len(arrays) == 1 for arrays in together.values())


def test_a_server_that_goes_back_to_an_older_checkpoint_goes_on_above_the_newest_number(play, tmp_path):
    """Numbers that it has forgotten are not used again: members say which is the newest."""
    values = {"rounds": 3}
    _, first = play("run", values, 3, stop={TRAIN: 2})
    folder = tmp_path / "run" / "checkpoint"
    old = {path: path.read_bytes() for path in folder.iterdir()}
    _, second = play("run", values, 3, stop={TRAIN: 3})
    for path in folder.iterdir():
        path.unlink()
    for path, data in old.items():
        path.write_bytes(data)
    last, third = play("run", values, 3)
    assert [row["clients"] for row in last.rounds()] == [0, 3, 3, 3]
    together = sent(first)
    for grid in (second, third):
        for key, arrays in sent(grid).items():
            together.setdefault(key, set()).update(arrays)
    assert all(len(arrays) == 1 for arrays in together.values())
    assert max(number for number, _ in sent(third)) > max(number for number, _ in sent(second))


def test_clients_that_would_send_other_slots_than_the_others_are_refused(simulate):
    """Where one alone selects a slot, the sum of that slot is its own."""
    values = {"strategy.name": "lora-a2", "strategy.score": "released", "federation.sum": "secure", "rounds": 3}
    with pytest.raises(BractError, match="client 1 would send other parts than the others"):
        simulate(values, ranks={1: 1})
