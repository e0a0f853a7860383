"""Is the claimed epsilon true? An attacker's lower bound on it, beside the claim of the client's own ledger.

The attacker is the server: it sees what one real client releases, round after round, knows the model, the settings
and every text that the client may have, and must tell which of them the client has.

- one run: each canary, a text with a label drawn at random, is in the data by the toss of a coin; after one run the
  attacker says of the surest whether they are in or out. From the number of right answers follows a lower bound
  (Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023).
- two worlds: the same run many times, with one canary and without; how often the attacker is right and wrong gives
  the bound (Clopper and Pearson), with a threshold that other runs have set.

A bound above the claim proves the claim false. One below proves nothing: it is what this attacker could show.
`--broken` breaks the mechanism on purpose, to see that the attacker notices.
"""

import argparse
import csv
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from flwr.app import RecordDict
from numpy.typing import NDArray
from scipy.stats import beta, binom
from torch.nn import functional

from bract.batching import batch_of
from bract.data.demo import generator
from bract.privacy import mechanism
from bract.privacy.accounting import epsilon
from bract.privacy.noise import SecureNoise
from bract.privacy.spending import PrivacySpending
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.task import Table
from bract.tasks.tokens import pad_id
from bract.wire import messages
from bract.wire.payload import Payload, pack, unpack
from bract.wire.plan import Plan
from client_app.client import Client
from client_app.local_round import train_round
from client_app.privacy import clip

Text = tuple[str, str]  # and its label
Values = NDArray[np.float64]

RISK = 0.025  # that a bound is wrong; there are two
SHARES = (1.0, 0.5, 0.25, 0.125)  # of the canaries, on which the attacker speaks
TRUST = (1.0, 1e-4)  # the noise that the attacker reckons with, in parts of what is claimed
LOOKS = 8  # rounds of a run at whose start gradients are computed
TRIES = len(SHARES) * len(TRUST)  # each is a test of its own, and has its part of the risk


@dataclass(frozen=True)
class Bound:
    """What the attacker could show, beside what was claimed."""

    claim: float
    least: float
    told: str


@dataclass(frozen=True)
class Released:
    """What a client released: B before and after each round, and what its ledger claims in the end."""

    client: Client
    pairs: list[tuple[Values, Values]]
    spending: PrivacySpending

    @property
    def claim(self) -> float:
        """Epsilon, as the client states it."""
        return math.inf if self.spending.epsilon is None else self.spending.epsilon


def settings_of(model: str, labels: Sequence[str], folder: Path, **values: Any) -> dict[str, Any]:
    """FFA-LoRA by plain gradient descent at a rate of 1, so that what is released is the sum of noisy gradients."""
    (folder / "labels.json").write_text(json.dumps(list(labels)))
    return {
        **Settings().flat(),
        "model.name": model,
        "data.labels": str(folder / "labels.json"),
        "data.holdout": 0.0,
        "data.max-length": 32,
        "lora.head": "frozen",
        "train.optimizer": "sgd",
        "train.lr": 1.0,
        "train.lr-ratio": 1.0,
        "privacy.unit": "example",
        "privacy.clip": 0.05,
        **values,
    }


def run(values: dict[str, Any], texts: Sequence[Text], folder: Path) -> Released:
    """A client with these texts trains all rounds; the server hands back what it got."""
    folder.mkdir(parents=True)
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *texts])
    client = Client(read({**values, "data.source": f"file:{folder / 'data.csv'}"}), 0, 1)
    layout, pairs, spending = client.layout, [], None
    now = np.zeros(layout.size("B"), np.float32)
    for number in range(1, values["rounds"] + 1):
        plan = Plan(number, "audit", trains=("B",), sends=("B",), receives=("B",))
        data = messages.payload_record(pack(layout, Payload(number, {"B": now})))
        reply = train_round(client, RecordDict({messages.PLAN: plan.to_record(), messages.PAYLOAD: data}))
        status, why = messages.report(reply)
        if status != "done":
            raise RuntimeError(f"round {number}: the client abstained: {why}")
        after = unpack(layout, messages.get_payload(reply), round=number, parts=["B"]).parts["B"]
        pairs.append((now.astype(np.float64), after.astype(np.float64)))
        spending, now = messages.privacy_spending(reply), after
    assert spending is not None
    return Released(client, pairs, spending)


def gradients(client: Client, texts: Sequence[Text], b: Values) -> Values:
    """Each text's clipped gradient at this B, a row a text: by plain autograd, not by the code that is audited."""
    settings, place = client.settings, client.shape.place
    net = client.model()
    for part, vector in client.first().items():
        net.set(part, b.astype(np.float32) if part == "B" else vector, net.layout)
    table = Table({"text": tuple(text for text, _ in texts), "label": tuple(label for _, label in texts)})
    every = client.task.examples(table, np.arange(len(table)), client.outputs, place, settings.data.max_length)
    parameters = net.parameters_of("B")
    net.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    rows = []
    for tokens, label in zip(every.tokens, every.targets, strict=True):
        ids, mask = batch_of([tokens.tolist()], pad_id(place), net.device)
        found = torch.autograd.grad(functional.cross_entropy(net(ids, mask), torch.tensor([label])), parameters)
        row = net.flat("B", list(found)).astype(np.float64)
        rows.append(row * min(1.0, settings.privacy.clip / max(float(np.linalg.norm(row)), 1e-30)))
    net.requires_grad_(False)
    return np.array(rows)


def presence(
    found: Released, texts: Sequence[Text], rounds: Sequence[Values] | None = None, trust: float = 1.0
) -> Values:
    """How much of each text is in what was released: ridge regression on the texts' gradients, over all rounds.

    `rounds` are the gradients at each round's start, where they are known already.
    """
    settings, spending = found.client.settings, found.spending
    drawn = spending.sample_rate * spending.steps  # how often a text that is there is expected in a round
    noise = spending.steps * (spending.sigma * settings.privacy.clip) ** 2
    square = np.eye(len(texts)) * trust * noise / (drawn / 2) ** 2
    right = np.zeros(len(texts))
    for number, (before, after) in enumerate(found.pairs):
        each = gradients(found.client, texts, before) if rounds is None else rounds[number]
        square += each @ each.T
        right += each @ ((before - after) * settings.train.batch / settings.train.lr)
    return np.asarray(np.linalg.solve(square, right))


def one_run(values: dict[str, Any], ordinary: Sequence[Text], canaries: Sequence[Text], folder: Path) -> Bound:
    """A bound from one run: the attacker knows the ordinary texts, and guesses which canaries are there."""
    there = np.random.default_rng().random(len(canaries)) < 0.5
    found = run(values, [*ordinary, *(c for c, in_ in zip(canaries, there, strict=True) if in_)], folder)
    every = [*ordinary, *canaries]
    seen = -(-len(found.pairs) // LOOKS)  # B moves little from one round to the next
    looks = [gradients(found.client, every, before) for before, _ in found.pairs[::seen]]
    rounds = [looks[number // seen] for number in range(len(found.pairs))]
    best, told = 0.0, 0.0
    for trust in TRUST:
        order = np.argsort(presence(found, every, rounds, trust)[len(ordinary) :])
        for share in SHARES:
            half = int(share * len(canaries)) // 2
            right = int((~there[order[:half]]).sum() + there[order[len(order) - half :]].sum())
            delta = values["privacy.delta"]
            best = max(best, bound_of_guesses(right, 2 * half, len(canaries), delta, RISK / TRIES))
            told = max(told, right / (2 * half) if share == 1.0 else 0.0)
    return Bound(found.claim, best, f"{told:.0%} of {len(canaries)} canaries told right")


def two_worlds(values: dict[str, Any], ordinary: Sequence[Text], canary: Text, trials: int, folder: Path) -> Bound:
    """A bound from many runs, with the canary and without."""
    scores: dict[bool, list[float]] = {True: [], False: []}
    every, first, claim = [*ordinary, canary], None, 0.0
    public: set[tuple[float, ...]] = set()  # it is taken as known, and must not give the world away
    for trial in range(trials):
        for there in (True, False):
            found = run(values, every if there else ordinary, folder / f"{trial}-{there}")
            first = gradients(found.client, every, found.pairs[0][0]) if first is None else first
            scores[there].append(presence(found, every, [first] * len(found.pairs))[-1])
            claim = max(claim, found.claim)
            public.add((found.spending.sample_rate, found.spending.sigma, found.spending.steps))
    if len(public) > 1:
        raise RuntimeError(f"the number of examples alone tells the worlds apart: {public}; take another")
    half = trials // 2
    tuned = [(np.array(scores[t][:half]), np.array(scores[t][half:])) for t in (True, False)]
    (in_, in_test), (out, out_test) = tuned
    best, (cut, over) = -math.inf, (0.0, True)
    for threshold in np.concatenate([in_, out]):
        for above in (True, False):
            value = bound_of_errors(in_, out, threshold, values["privacy.delta"], above=above)
            best, (cut, over) = max((best, (cut, over)), (value, (float(threshold), above)))
    bound = bound_of_errors(in_test, out_test, cut, values["privacy.delta"], above=over)
    told = ((in_test > cut).mean() + (out_test <= cut).mean()) / 2
    return Bound(claim, max(0.0, bound), f"{told:.0%} of {2 * len(in_test)} runs told right")


def bound_of_guesses(right: int, guesses: int, canaries: int, delta: float, risk: float) -> float:
    """The largest epsilon that so many right guesses refute, at this risk of being wrong.

    Under (epsilon, delta) the number of right guesses is at most binomial with e^eps / (1 + e^eps), but for delta's
    part: of `canaries` tosses, each may be given away, and the worst way to spread those is taken.
    """

    def refuted(epsilon: float) -> bool:
        chance = 1 / (1 + math.exp(-epsilon))
        tail = binom.sf(right - 1, guesses, chance)
        below = np.cumsum(binom.pmf(right - 1 - np.arange(right), guesses, chance))  # P[right - i <= X < right]
        worst = float((below / np.arange(1, right + 1)).max(initial=0.0))
        return bool(tail + 2 * canaries * delta * worst < risk)

    low, high = 0.0, 20.0
    if not refuted(low):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def bound_of_errors(in_: Values, out: Values, threshold: float, delta: float, *, above: bool) -> float:
    """ln((P[say in | in] - delta) / P[say in | out]), each at its worse end of half the risk; or of saying out."""
    said_in, said_out = (in_ > threshold, out > threshold) if above else (out <= threshold, in_ <= threshold)
    hits, wrongs = int(said_in.sum()), int(said_out.sum())
    least = float(beta.ppf(RISK / 2, hits, len(said_in) - hits + 1)) if hits else 0.0
    most = float(beta.ppf(1 - RISK / 2, wrongs + 1, len(said_out) - wrongs)) if wrongs < len(said_out) else 1.0
    return math.log((least - delta) / most) if least > delta else -math.inf


def broken(how: str) -> AbstractContextManager[object]:
    """The mechanism with a fault: the clip or the noise off, or a ledger that counts the newest round alone."""
    if how == "clip":
        return patch.object(clip, "SAFE", 1e9)
    if how == "noise":
        return patch.object(SecureNoise, "normal", lambda self, count: np.zeros(count))
    if how == "rounds":
        return patch.object(mechanism, "epsilon", lambda uses, *more: epsilon(list(uses)[-1:], *more))
    return nullcontext()


def texts_of(count: int, seed: int) -> list[Text]:
    """The demo's messages, with labels drawn at random: what nobody else's data would teach."""
    rng = np.random.default_rng(seed)
    labels = list(generator.LABELS)
    return [(e.text, labels[rng.integers(len(labels))]) for e in generator.make(seed=seed, size=max(count, 64))[:count]]


def main() -> None:
    """Audit, and exit with 1 if a claim is refuted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm", help="as model.name")
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--canaries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--trials", type=int, default=60, help="runs in each of the two worlds")
    parser.add_argument(
        "--broken", default="", choices=["clip", "noise", "rounds"], help="break the mechanism on purpose"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    bounds = {}
    with tempfile.TemporaryDirectory() as scratch, broken(options.broken):
        os.environ["BRACT_HOME"] = f"{scratch}/home"
        place = Path(scratch)
        once = {"privacy.joins": 1} if options.broken == "rounds" else {}  # the noise is set for one round too
        common = {"privacy.epsilon": options.epsilon, **once}
        count = options.canaries
        texts = texts_of(2 * count, seed=1)
        drawn = {"train.batch": 3 * count // 4, "train.steps": 4, "rounds": options.rounds}
        values = settings_of(options.model, list(generator.LABELS), place, **common, **drawn)
        bounds["one run"] = one_run(values, texts[:count], texts[count:], place / "one")
        few = texts_of(13, seed=2)
        values |= {"train.batch": 6, "train.steps": 2, "rounds": max(1, options.rounds // 2)}
        bounds["two worlds"] = two_worlds(values, few[:12], few[12], options.trials, place / "two")
    for name, bound in bounds.items():
        verdict = "REFUTED" if bound.least > bound.claim else "not refuted"
        print(
            f"{name:<11} epsilon is at least {bound.least:.2f} ({1 - RISK:.1%} confidence; {bound.told}); "
            f"claimed {bound.claim:.2f}: {verdict}"
        )
    sys.exit(any(bound.least > bound.claim for bound in bounds.values()))


if __name__ == "__main__":
    main()
