"""A server that asks for what tells most: each canary's gradient has a direction of its own, which no other has.

Every client's data hold canaries, each one text with a label of its own, of which the head has a row each. In every
round the server sends a head of zeros. Then all labels are as likely, and the gradient of a text with embedding x and
label k is, up to 1 / labels, minus (x, 1) in row k and nothing elsewhere: a vector of one known direction, longer than
the clip. What comes back in that direction, at a sampling rate of 1, is

    clip * (steps if the canary is there, else 0) + noise,

with the noise that is accounted. Nothing else is asked to train, so nothing else has a part in the clip: what factors'
gradients go through on their way to it is not attacked.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from bract.adapter.layout import Layout
from bract.privacy.spending import PrivacySpending
from bract.wire import messages
from bract.wire.cards import ClientCard
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan
from server_app.transport import exchange

Values = NDArray[np.float64]
FEDERATION = "audit"
PATIENCE = 900.0  # seconds that a round may take


@dataclass(frozen=True)
class Asked:
    """What the server knows of a run: its settings, and the embedding of the canaries' text."""

    rounds: int
    batch: int
    lr: float
    clip: float
    embedding: Values


@dataclass
class Told:
    """What one client told: in every round the sum in each label's direction, in clips, and what its ledger claims."""

    sums: list[Values] = field(default_factory=list)
    spendings: list[PrivacySpending] = field(default_factory=list)

    @property
    def claim(self) -> float:
        """Epsilon of the whole run, as the client states it in the end."""
        spent = self.spendings[-1].epsilon
        return math.inf if spent is None else spent


def attack(grid: Grid, asked: Asked) -> list[Told]:
    """Join every client, then ask each for its rounds; what each told, in the order of partitions."""
    nodes = list(grid.get_node_ids())
    cards = {node: card(reply) for node, reply in answers(grid, {node: RecordDict() for node in nodes}, messages.JOIN)}
    told = {node: Told() for node in sorted(nodes, key=lambda node: cards[node].partition)}
    for number in range(1, asked.rounds + 1):
        requests = {node: request(number, cards[node].layout) for node in nodes}
        for node, reply in answers(grid, requests, messages.TRAIN):
            spending = messages.privacy_spending(reply)
            if messages.report(reply)[0] != "done" or spending is None:
                raise RuntimeError(f"round {number}: a client did not train: {messages.report(reply)[1]}")
            told[node].sums.append(sums(reply, cards[node].layout, number, asked))
            told[node].spendings.append(spending)
    return list(told.values())


def plan(number: int) -> Plan:
    """A round's: train the head that comes down, and send what was learned."""
    return Plan(number, FEDERATION, trains=("head",), sends=("head",), receives=("head",), changes=True)


def request(number: int, layout: Layout) -> RecordDict:
    """A round's, with a head of zeros."""
    zeros = np.zeros(layout.size("head"), np.float32)
    return RecordDict(
        {
            messages.PLAN: plan(number).to_record(),
            messages.PAYLOAD: messages.payload_record(pack(layout, Payload(number, {"head": zeros}))),
        }
    )


def answers(grid: Grid, requests: Mapping[int, RecordDict], kind: str) -> Iterable[tuple[int, RecordDict]]:
    """All nodes' replies; one that fails or is silent ends the audit, in its own words."""
    asked = [Message(content, dst_node_id=node, message_type=kind) for node, content in requests.items()]
    silent = set(requests)
    for reply in exchange(grid, asked, PATIENCE):
        if reply.has_error():
            raise RuntimeError(f"a client failed: {reply.error.reason}")
        silent.discard(reply.metadata.src_node_id)
        yield reply.metadata.src_node_id, reply.content
    if silent:
        raise RuntimeError(f"{len(silent)} clients did not answer")


def card(reply: RecordDict) -> ClientCard:
    """Who a client says it is."""
    return ClientCard.from_text(str(reply[messages.REPORT]["card"]))


def sums(reply: RecordDict, layout: Layout, number: int, asked: Asked) -> Values:
    """A round's noisy sum of gradients in each label's direction, in clips."""
    change = unpack(layout, messages.get_payload(reply), round=number, parts=["head"]).parts["head"]
    # The change is minus the rate times the mean, and a gradient points away from its label.
    return along(layout, change.astype(np.float64), asked.embedding) * asked.batch / (asked.lr * asked.clip)


def along(layout: Layout, head: Values, embedding: Values) -> Values:
    """How far a head's values go in each label's direction."""
    weight, bias = layout.matrices("head", head)  # type: ignore[arg-type]  # of any floating-point kind
    return np.asarray((weight @ embedding + bias.reshape(-1)) / np.linalg.norm(np.append(embedding, 1.0)))


def scores(told: Told, labels: NDArray[np.int64], copies: int, examples: float) -> Values:
    """By how much likelier each canary is in than out, over all rounds: the logarithm of the likelihoods' ratio.

    A canary is `copies` examples with one label, each drawn by itself in every step. `examples` are about how many the
    client has: each moves every label a little, by one part in their number, the other way.
    """
    total: Values = np.zeros(len(labels))
    for sum_, spent in zip(told.sums, told.spendings, strict=True):
        steps, rate, sigma = int(spent.steps), spent.sample_rate, spent.sigma
        values = sum_[labels] + steps * rate * examples / len(sum_)
        total += ratio(values, draws(steps * copies, rate), max(sigma, 1e-9) ** 2 * steps)
    return total


def draws(count: int, rate: float) -> Sequence[tuple[int, float]]:
    """How often a canary that is there is drawn, with the logarithm of how likely that is."""
    if rate >= 1:
        return [(count, 0.0)]
    k = np.arange(count + 1)
    odds = gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1) + k * math.log(rate)
    return list(zip(k.tolist(), (odds + (count - k) * math.log1p(-rate)).tolist(), strict=True))


def ratio(values: Values, drawn: Sequence[tuple[int, float]], variance: float) -> Values:
    """Of normal noise around what was drawn, to noise around nothing."""
    each = [odds + (2 * k * values - k * k) / (2 * variance) for k, odds in drawn]
    return np.asarray(logsumexp(np.stack(each), axis=0))
