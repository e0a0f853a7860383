"""Parameters that keep the promise, literal keys, key messages, and boxes that open for one member and round alone."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bract.errors import BractError
from bract.secure_sum.setup import SEALED, Keys, Parameters, Secrets, box_of, print_of, public_of, shared
from tests.bract.secure_sum.members import NUMBER, Members

A, B = bytes(range(32)), bytes(range(32, 64))

NEAR = [1, 2]  # the neighbours of member 0


def test_literal_keys():
    assert public_of(A).hex() == "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
    found = {shared(X25519PrivateKey.from_private_bytes(x), public_of(y)).hex() for x, y in ((A, B), (B, A))}
    assert found == {"9663aa1da97e848a914a436d04163dfbb89178f107f1b5b77ed3854203382854"}


@pytest.mark.parametrize(
    ("n", "survivors", "honest", "threshold"),
    [(3, 3, 2, 3), (5, 4, 3, 4), (10, 8, 6, 7), (50, 40, 30, 31), (100, 80, 60, 61)],
)
def test_defaults(n, survivors, honest, threshold):
    found = Parameters.of("f", 1, range(n), 1, 4)
    assert (found.survivors, found.honest, found.threshold) == (survivors, honest, threshold)


def test_what_passes_can_never_give_both_secrets_of_one_member():
    """Over all small numbers: what is accepted has two honest members left, and two answers' sets that always meet."""
    accepted = 0
    for n in range(1, 12):
        for colluders in range(n + 1):
            for survivors in range(n + 2):
                for threshold in range(n + 2):
                    parameters = Parameters("f", 1, tuple(range(n)), 1, 1, colluders, survivors, threshold)
                    try:
                        parameters.require()
                    except BractError:
                        continue
                    accepted += 1
                    assert n >= 3
                    assert survivors <= n
                    assert survivors - colluders >= 2
                    assert threshold <= survivors  # else a sum of so few could never be released
                    assert 2 * (threshold - colluders) > n - colluders  # honest answers for both would meet in one
    assert accepted > 100


@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 2},
        {"threshold": 4},
        {"survivors": 2},
        {"colluders": 2},
        {"colluders": -1},
        {"rounds": 33},
        {"rounds": 0},
        {"first": 0},
        {"generation": -1},
        {"members": [0, 1, 1]},
        {"members": [2, 1, 0]},
        {"members": [-1, 1, 2]},
        {"members": [0, 1, True]},
        {"members": 3},
        {"threshold": 3.0},
        {"federation": 1},
        {"signed": 1},
        {"more": 1},
    ],
)
def test_other_parameters_are_refused(changed):
    right = json.loads(Parameters.of("f", 1, range(3), 1, 4).to_text())
    assert Parameters.from_text(json.dumps(right)) == Parameters.of("f", 1, range(3), 1, 4)
    with pytest.raises(BractError):
        Parameters.from_text(json.dumps({**right, **changed}))
    for text in ("", "{}", "[]", "null", "[" * 100_000):
        with pytest.raises(BractError):
            Parameters.from_text(text)


def test_the_same_seed_gives_the_same_bytes_and_nothing_twice():
    parameters = Parameters.of("f", 1, range(3), 1, 4)
    one, same, other = (Secrets(seed) for seed in (A, A, B))
    assert one.keys(parameters) == same.keys(parameters) != other.keys(parameters)
    secrets = [find(m) for find in (one.mask, one.own, other.mask, other.own) for m in range(1, 5)]
    shares = [
        s
        for what in ("mask", "self")
        for m in range(1, 5)
        for s in one.shares(what, m, parameters, range(len(parameters.members)))
    ]
    assert len(set(secrets)) == len(secrets)
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize("signed", [False, True])
def test_key_messages_are_read_back_and_other_lengths_are_refused(signed):
    parameters = Parameters.of("f", 1, range(3), 1, 2, signed=signed)
    keys = replace(Secrets(A).keys(parameters), signature=b"s" * 90 if signed else b"")
    data = keys.to_bytes()
    assert Keys.from_bytes(data, parameters) == keys
    wrong = [
        b"",
        data[:1],
        data[:-1],
        data + b"\0",
        b"\xff" + data[1:],
        replace(keys, signature=b"" if signed else b"s").to_bytes(),
    ]
    wrong += [replace(keys, box=bytes(32)).to_bytes(), replace(keys, masks=(keys.masks[0], bytes(32))).to_bytes()]
    for one in wrong:
        with pytest.raises(BractError):
            Keys.from_bytes(one, parameters)


def test_a_print_is_of_every_message_and_parameter():
    one, other = Parameters.of("f", 1, range(3), 1, 2), Parameters.of("f", 2, range(3), 1, 2)
    prints = [
        print_of(parameters, messages)
        for parameters in (one, other)
        for messages in ([b"ab", b"c"], [b"a", b"bc"], [b"c", b"ab"], [b"abc"])
    ]
    assert len(set(prints)) == len(prints)


def test_a_box_opens_for_its_sender_receiver_round_and_set_up_alone():
    members = Members(3)
    parameters = replace(members.parameters, rounds=2)
    keys = [one.keys(parameters) for one in members.secrets]
    boxes = members.secrets[0].boxes(parameters, 0, keys, members.print)
    assert len(boxes) == 2 * 2 * SEALED
    box, receiver = box_of(boxes, parameters, NEAR, 2, NUMBER), members.secrets[2]
    mask, own = receiver.opened(box, 0, 2, NUMBER, keys[0].box, members.print)
    assert mask == members.secrets[0].shares("mask", NUMBER, parameters, [2])[0]
    assert own == members.secrets[0].shares("self", NUMBER, parameters, [2])[0]
    right = (0, 2, NUMBER, keys[0].box, members.print)
    wrong = [(1, *right[1:]), (0, 1, *right[2:]), (0, 2, NUMBER + 1, *right[3:])]
    wrong += [(*right[:3], keys[1].box, members.print), (*right[:4], bytes(32))]
    for opener, *what in [(receiver, *one) for one in wrong] + [(members.secrets[1], *right)]:
        with pytest.raises(BractError, match="not for this member and round"):
            opener.opened(box, *what)
    for other in (
        box_of(boxes, parameters, NEAR, 1, NUMBER),
        box_of(boxes, parameters, NEAR, 2, NUMBER + 1),
        bytes(SEALED),
        b"",
        box[:-1] + bytes([box[-1] ^ 1]),
    ):
        with pytest.raises(BractError, match="not for this member and round"):
            receiver.opened(other, *right)
