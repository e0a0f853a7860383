import multiprocessing
import threading

import numpy as np
import pytest

from bract.adapter.layout import Layout, Module
from bract.errors import BractError
from client_app.state import ClientState, Kept

LAYOUT = Layout((Module("q", 2, 3),), rank=1)


def b(value):
    return Kept({"B": np.full(3, value, np.float32)})


def test_it_remembers_and_goes_back_one_round():
    state = ClientState("abc", 2)
    assert state.load(LAYOUT, before=1) == Kept()
    for round_ in (1, 2, 5):
        state.save(LAYOUT, round_, b(round_))
    assert state.load(LAYOUT, before=6).parts["B"].tolist() == [5, 5, 5]
    assert state.load(LAYOUT, before=5).parts["B"].tolist() == [2, 2, 2]
    assert len(list(state.folder.iterdir())) == 2
    state.save(LAYOUT, 3, b(3))  # the server went back: what came after is gone
    assert state.load(LAYOUT, before=9).parts["B"].tolist() == [3, 3, 3]


def test_a_turn_waits_for_the_one_that_is_under_way():
    """As when a client is so late that its next round has begun, in another process."""
    state = ClientState("abc", 0)
    begun, done = multiprocessing.Event(), multiprocessing.Event()

    def late():
        with state.alone():
            begun.set()
            done.wait(30)
            state.save(LAYOUT, 1, b(1))

    process = multiprocessing.get_context("fork").Process(target=late)
    process.start()
    assert begun.wait(30)
    threading.Timer(0.3, done.set).start()
    with state.alone():
        assert state.load(LAYOUT, before=2).parts["B"].tolist() == [1, 1, 1]
        state.save(LAYOUT, 2, b(2))
    process.join(30)
    assert state.load(LAYOUT, before=3).parts["B"].tolist() == [2, 2, 2]


def test_clients_and_federations_are_apart():
    ClientState("abc", 0).save(LAYOUT, 1, b(1))
    assert ClientState("abc", 1).load(LAYOUT, before=9) == Kept()
    assert ClientState("abd", 0).load(LAYOUT, before=9) == Kept()


def test_state_of_another_layout_is_named_never_replaced():
    state = ClientState("abc", 0)
    state.save(LAYOUT, 1, b(1))
    with pytest.raises(BractError, match="belongs to layout"):
        state.load(Layout(LAYOUT.modules, 2), before=2)
    assert state.load(LAYOUT, before=2).parts["B"].tolist() == [1, 1, 1]


def test_damaged_state_is_an_error():
    state = ClientState("abc", 0)
    state.save(LAYOUT, 1, b(1))
    (path,) = state.folder.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BractError, match="damaged"):
        state.load(LAYOUT, before=2)


def test_it_is_its_owners_alone():
    state = ClientState("abc", 0)
    state.save(LAYOUT, 1, b(1))
    assert state.folder.stat().st_mode & 0o777 == 0o700
    assert next(state.folder.iterdir()).stat().st_mode & 0o777 == 0o600
