"""The way of a training message through the client, traced: which modules get it, or what was made of it, in order."""

import sys
from dataclasses import fields, is_dataclass

import pytest

from tests.harness import InProcessGrid

# A message comes to the one, and its way is written in the other.
PAGE = ("client_app.app", "client_app.rounds.local_round")


class Walk:
    """Calls that the page makes with the message's content, or with what came of it, to other modules of the client."""

    def __init__(self):
        self.modules: list[str] = []
        self._held: list[object] = []  # so that no name is given again
        self._came: set[int] = set()
        self._running: set[int] = set()

    def came(self, value):
        if value is None or isinstance(value, bool | int | float):
            return
        self._held.append(value)
        self._came.add(id(value))
        if is_dataclass(value) and not isinstance(value, type):
            for field in fields(value):
                self.came(getattr(value, field.name))

    def __call__(self, frame, event, result):
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("client_app"):
            return
        if event == "call":
            caller = frame.f_back.f_globals.get("__name__", "") if frame.f_back else ""
            if name == PAGE[0] and frame.f_code.co_name == "train" and not self.modules:
                self.came(frame.f_locals["message"].content)
            elif not any(id(value) in self._came for value in frame.f_locals.values()):
                return
            self._running.add(id(frame))
            if (caller in PAGE or not self.modules) and (not self.modules or self.modules[-1] != name):
                self.modules.append(name)
        elif event == "return" and id(frame) in self._running:
            self._running.discard(id(frame))
            self.came(result)


@pytest.mark.parametrize("unit", ["none", "example"])
@pytest.mark.parametrize("strategy", ["ffa", "lora-a2", "fedsa", "hetlora"])
def test_a_training_message_walks_straight_through_the_client(simulate, monkeypatch, strategy, unit):
    """Each module that the page hands the message to, or what came of it, gets it once, and in order."""
    walks = []
    deliver = InProcessGrid._deliver

    def traced(self, message):
        if message.metadata.message_type != "train":
            return deliver(self, message)
        walks.append(Walk())
        sys.setprofile(walks[-1])
        try:
            return deliver(self, message)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(InProcessGrid, "_deliver", traced)
    private = {"privacy.unit": unit, "privacy.delta": 1e-3, "privacy.epsilon": 50.0, "train.steps": 2}
    simulate({**private, "strategy.name": strategy, "rounds": 1})
    assert len(walks) == 3
    for walk in walks:
        way = [name for at, name in enumerate(walk.modules) if name not in PAGE or at < len(PAGE)]
        way = [name for at, name in enumerate(way) if not at or way[at - 1] != name]
        print(" -> ".join(way))
        assert tuple(way[:2]) == PAGE
        budget = ["client_app.privacy.budget"] if unit == "example" else []
        assert way[2 : 4 + len(budget)] == ["client_app.request", *budget, "client_app.training.loop"]
        assert len(set(way)) == len(way) <= 10  # each once
        assert ("client_app.state" in way) == (strategy in ("fedsa", "hetlora"))  # where something stays
