"""The released sum under attack: the server, and colluders, know all but one client's canaries.

The set-up and the rounds are real: keys, boxes, masked words, unmasking. One client, the first, has canaries, asked for
as in `audit_attack.py`. From each unmasked sum the attacker takes what it knows: what all other members put in, whose
data it has, and the noise of the last `colluders` of them, who tell it. What is left is that one client's clipped sum
under the honest members' shares of noise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from benchmarks import audit_attack
from benchmarks.audit_attack import FEDERATION, PATIENCE, Asked, Told, Values, answers
from benchmarks.audit_clients import Audit, asked_of, grid_of, settings_of, write_whole
from bract.adapter.layout import Layout
from bract.secure_sum.masks import Context
from bract.secure_sum.rounds import RoundOfSum
from bract.secure_sum.setup import Parameters
from bract.secure_sum.vector import Words
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.registry import task_of
from bract.wire import messages
from client_app.rounds import contributing
from client_app.rounds.place import Place
from server_app.secure_sum.agreeing import SetUp, agree
from server_app.secure_sum.recovering import Answer, unmask
from strategies import Member
from strategies.sums import SumOfWords

TARGET = 0  # the client with the canaries

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SumAudit(Audit):
    """What is audited: the sum over so many clients, the first of which has canaries.

    No client gets lost, so that `clients - colluders` honest shares of noise are both what is due and what is there.
    """

    epsilon: float = 2.0
    delta: float = 1e-5
    clients: int = 12
    canaries: int = 2000
    ordinary: int = 50
    rounds: int = 3
    colluders: int = 2

    @property
    def targets(self) -> int:
        """Clients that have canaries."""
        return 1


@dataclass
class Known:
    """What the attacker knows of each sum, by its number: of its whole numbers, those that it can take out."""

    colluders: range
    parts: dict[int, Integers] = field(default_factory=dict)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While members contribute: their data are known, so what they put in is noted and not computed once more."""
        real = contributing._with_noise

        def noted(place: Place, values: Integers, *more: Any) -> Integers:
            sent = real(place, values, *more)
            if place.client.partition != TARGET:
                known = sent if place.client.partition in self.colluders else values
                self.parts[place.asked.number] = self.parts.get(place.asked.number, 0) + known
            return sent

        with patch.object(contributing, "_with_noise", noted):
            yield


def in_process(audit: SumAudit, there: NDArray[np.bool_], folder: Path) -> list[Told]:
    """What sums tell of the one client with canaries, where one process carries the messages."""
    values = {
        **settings_of(audit, f"file:{write_whole(audit, there, folder)}", folder),
        "data.partition": "natural:client",
        "federation.sum": "secure",
        "federation.colluders": audit.colluders,
        "federation.survivors": audit.clients,
        "privacy.noise": "shared",
        "train.rate": 1.0,
    }
    known = Known(range(audit.clients - audit.colluders, audit.clients))
    with known.listening():
        return [attack(grid_of(audit, values), read(values), asked_of(values, len(audit.labels)), known)]


def attack(grid: Grid, settings: Settings, asked: Asked, known: Known) -> Told:
    """Agree on a set-up, then ask for rounds; what their sums told of the target, and what its ledger claims."""
    nodes = {node: RecordDict() for node in grid.get_node_ids()}
    cards = {node: audit_attack.card(reply) for node, reply in answers(grid, nodes, messages.JOIN)}
    layout = next(iter(cards.values())).layout
    members = [Member(card.partition, node) for node, card in cards.items()]
    setup = agree(grid, members, parameters_of(settings), 1, PATIENCE, signed=False)
    of = RoundOfSum.of(settings, len(members), setup.parameters.honest, layout.size("head"))
    sums = Sums(grid, setup, {setup.parameters.members.index(card.partition): node for node, card in cards.items()})
    told = Told()
    for number in range(1, asked.rounds + 1):
        words = SumOfWords(of.shape(layout, task_of(settings.model.task)), number)
        content = sums.request(number, layout)
        for node, reply in answers(grid, dict.fromkeys(nodes, content), messages.TRAIN):
            spending = messages.privacy_spending(reply)
            if messages.report(reply)[0] != "done" or spending is None:
                raise RuntimeError(f"round {number}: a client did not train: {messages.report(reply)[1]}")
            words.take(messages.get_payload(reply), None)
            if cards[node].partition == TARGET:
                told.spendings.append(spending)
        sums.unmask(number, messages.get_payload(content).tobytes(), words.total)
        left: Values = of.grid.decode(words.total.numbers()[0] - known.parts.pop(number))
        # A gradient points away from its label.
        told.sums.append(-audit_attack.along(layout, left, asked.embedding) / asked.clip)
    return told


def parameters_of(settings: Settings) -> Callable[[Sequence[int], int, bool], Parameters]:
    """Of a set-up for all rounds."""
    federation = settings.federation

    def made(members: Sequence[int], generation: int, signed: bool) -> Parameters:
        lost = {"colluders": federation.colluders, "survivors": federation.survivors}
        return Parameters.of(FEDERATION, generation, members, 1, settings.rounds, **lost, signed=signed)

    return made


@dataclass(frozen=True)
class Sums:
    """The server's part in sums of all members, by their places."""

    grid: Grid
    setup: SetUp
    nodes: Mapping[int, int]

    @property
    def places(self) -> list[int]:
        """All of them."""
        return sorted(self.nodes)

    def request(self, number: int, layout: Layout) -> RecordDict:
        """A round's, to each member the same."""
        content = audit_attack.request(number, layout)
        sum_ = {"number": number, "asked": self.places, "measure": False, "print": self.setup.print}
        content[messages.SUM] = ConfigRecord(sum_)  # type: ignore[arg-type]  # of the kinds it takes
        return content

    def unmask(self, number: int, model: bytes, total: Words) -> None:
        """Take the masks off the sum of all members' words, in place, with their help."""
        setup, places = self.setup, self.places
        common: dict[str, Any] = {
            "parameters": setup.parameters.to_text(),
            "number": number,
            "survivors": places,
        }
        requests = {
            node: RecordDict(
                {messages.SUM: ConfigRecord({**common, "boxes": setup.for_receiver(place, places, number)})}
            )
            for place, node in self.nodes.items()
        }
        place_of = {node: place for place, node in self.nodes.items()}
        shares = {}
        for node, reply in answers(self.grid, requests, messages.UNMASK):
            place = place_of[node]
            holds = sorted({*setup.neighbours[place], place})
            shares[place] = Answer.of(holds, reply.config_records[messages.SUM]["shares"])
        context = Context.of(
            number, setup.print, audit_attack.plan(number), model, places, total.shape, None, measured=False
        )
        unmask(total, context, setup.parameters, setup.public, places, places, shares)
