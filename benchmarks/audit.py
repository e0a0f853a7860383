"""Is the claimed epsilon true? An attacker's lower bound on it, beside the claim of the clients' own ledgers.

The attacker is the server: it sends crafted messages to real clients, reads what they release, and must tell for each
of many canaries whether a client has it (`audit_attack.py`). How often it is right proves an epsilon
(`audit_bound.py`). A bound above the claim proves the claim false: the exit code is 1. One below it proves that the
attack works and no more.

With `--sum` the server sees secure sums alone, of clients that share the noise: it knows all other members' data, and
colluders take their shares of noise out again (`audit_sum.py`).

Every message is written to bytes and read again through the ClientApp; with --machines a SuperLink and `bract node`
carry it. `--broken` breaks the mechanism on purpose, to see that the attack notices. `--person K` makes the canary
all K texts of one person, whom `privacy.unit = example` does not promise to protect.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import audit_attack, audit_bound, audit_sum
from benchmarks.audit_attack import Told
from benchmarks.audit_bound import Guessed
from benchmarks.audit_clients import Audit, in_process, toss
from benchmarks.audit_machines import on_machines
from benchmarks.audit_sum import SumAudit
from bract.privacy.accounting import noise_for
from bract.privacy.discrete_gaussian import discrete_gaussian
from bract.privacy.noise import SecureNoise
from client_app.privacy import clip, ledger
from client_app.rounds import contributing
from client_app.rounds.place import Place

PERSONS_EPSILON, PERSONS_TEXTS = 2.0, 64000  # of `--person`: its claim, and the texts of all canaries together
BROKEN = {"clip": 10.0, "noise": 0.25, "rounds": 1.0, "share": 1.0}  # and how much, where nothing else is said


@dataclass(frozen=True)
class Verdict:
    """What the attacker could prove, beside what was claimed."""

    claim: float
    found: Guessed
    ceiling: float
    all_right: float  # share of all canaries, told right

    @property
    def refuted(self) -> bool:
        """Whether the claim is proven false."""
        return self.found.epsilon > self.claim


def judge(audit: Audit, there: NDArray[np.bool_], told: Sequence[Told]) -> Verdict:
    """The attacker's guesses beside the truth.

    Clients' data have nothing in common, so together they are as private as the least private of them.
    """
    found = [audit_attack.scores(one, audit.canary_labels, audit.copies, audit.records) for one in told]
    scores, truth = np.concatenate(found), there.ravel()
    return Verdict(
        max(one.claim for one in told),
        audit_bound.best(scores, truth, audit.delta),
        audit_bound.ceiling(len(truth), audit.delta),
        float(((scores > 0) == truth).mean()),
    )


@contextmanager
def broken(how: str, times: float) -> Iterator[None]:
    """The mechanism with a fault.

    Clips or noise so many times as long, a ledger that forgets earlier rounds, or shares of noise that are divided by
    the square root of the honest members' number once more.
    """
    normal, whole, share = SecureNoise.normal, discrete_gaussian, Place.share

    def divided_again(self: Place, deviation: float) -> float:
        return times * share(self, deviation) / math.sqrt(self.agreed.parameters.honest)

    faults: dict[str, list[Any]] = {
        "": [],
        "clip": [patch.object(clip, "SAFE", times)],
        "noise": [
            patch.object(SecureNoise, "normal", lambda self, count: times * normal(self, count)),
            patch.object(contributing, "discrete_gaussian", lambda noise, s, count: whole(noise, times * s, count)),
        ],
        "rounds": [patch.object(ledger, "_read", lambda path: {"version": 1, "entries": []})],
        "share": [patch.object(Place, "share", divided_again)],
    }
    with ExitStack() as stack:
        for fault in faults[how]:
            stack.enter_context(fault)
        yield


def run(audit: Audit, how: str = "", times: float = 1.0, *, machines: bool = False) -> Verdict:
    """Toss the coins, attack, judge."""
    there = toss(audit)
    with tempfile.TemporaryDirectory(prefix="bract-audit-") as scratch:
        folder = Path(scratch)
        if machines:
            return judge(audit, there, on_machines(audit, there, folder))
        with patch.dict(os.environ, {"BRACT_HOME": str(folder / "home")}), broken(how, times):
            if isinstance(audit, SumAudit):
                return judge(audit, there, audit_sum.in_process(audit, there, folder))
            return judge(audit, there, in_process(audit, there, folder))


def power(audit: Audit, noise: Sequence[float] = (1.0, 0.5, 0.4, 0.35, 0.3, 0.25), tries: int = 20) -> list[str]:
    """How often noise of so many times what is due would be refuted: by drawing what the attacker would see.

    All rounds together are one Gaussian mechanism, where each client takes all of its examples in every step.
    """
    sigma, rng, lines = noise_for(audit.epsilon, audit.delta, 1.0, 1), np.random.default_rng(), []
    for times in noise:
        proofs = []
        for _ in range(tries):
            there = rng.random(audit.total) < 0.5
            seen = there + sigma * times * rng.standard_normal(audit.total)
            scores = audit_attack.ratio(seen, [(1, 0.0)], sigma**2)
            proofs.append(audit_bound.best(scores, there, audit.delta).epsilon)
        refuted, middle = np.mean(np.array(proofs) > audit.epsilon), np.median(proofs)
        lines.append(f"noise of {times:g} times what is due: proves {middle:.2f} at the median, refuted {refuted:.0%}")
    return lines


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line. What is not said is None, and as it is usual."""
    usual, sums = Audit(), SumAudit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sum", action="store_true", help="attack the released sums of clients that share the noise")
    parser.add_argument("--model", help="as model.name; a pooled encoder (minilm)")
    parser.add_argument(
        "--epsilon",
        type=float,
        help=f"the claim ({usual.epsilon:g}; persons {PERSONS_EPSILON:g}; sums {sums.epsilon:g})",
    )
    parser.add_argument("--delta", type=float, help=f"of the claim ({usual.delta:g}; sums {sums.delta:g})")
    parser.add_argument("--clients", type=int, help=f"({usual.clients}; sums {sums.clients})")
    parser.add_argument(
        "--canaries",
        type=int,
        help=f"of each client ({usual.canaries}; persons: fewer), with --sum of one ({sums.canaries})",
    )
    parser.add_argument(
        "--ordinary", type=int, help=f"other texts of each client, the demo's ({usual.ordinary}; sums {sums.ordinary})"
    )
    parser.add_argument("--rounds", type=int, help=f"({usual.rounds}; sums {sums.rounds})")
    parser.add_argument("--person", type=int, default=0, metavar="K", help="a canary is the K texts of one person")
    parser.add_argument("--unit", default=usual.unit, choices=["example", "person"], help="as privacy.unit")
    parser.add_argument("--machines", action="store_true", help="a SuperLink and `bract node`s carry the messages")
    parser.add_argument("--broken", default="", choices=sorted(BROKEN), help="break the mechanism on purpose")
    parser.add_argument("--times", type=float, help="how long the broken clip (10) or noise (0.25) is, of what is due")
    parser.add_argument("--power", action="store_true", help="only simulate how little noise would be noticed")
    options = parser.parse_args(arguments)
    if options.machines and options.broken:
        parser.error("--broken breaks the mechanism of this process alone; it goes without --machines")
    if options.unit == "person" and not options.person:
        parser.error("--unit person goes with --person K")
    if options.sum and (options.machines or options.person):
        parser.error("--sum goes without --machines and --person")
    if options.broken == "share" and not options.sum:
        parser.error("--broken share goes with --sum: other clients' noise is all their own")
    if options.broken == "rounds" and options.sum:
        parser.error("--broken rounds goes without --sum: a sum's noise is set for all rounds, whatever a ledger says")
    return options


def audit_of(options: argparse.Namespace) -> Audit:
    """The audit that the options ask for."""
    usual = SumAudit() if options.sum else Audit()
    if options.person:
        few = PERSONS_TEXTS // options.person // (options.clients or usual.clients)
        usual = replace(usual, epsilon=PERSONS_EPSILON, canaries=few)
    names = ("model", "epsilon", "delta", "clients", "canaries", "ordinary", "rounds", "person", "unit")
    said = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return replace(usual, **said, joins=1 if options.broken == "rounds" else 0)  # noise for one round, in each


def attacked(audit: Audit) -> str:
    """What is attacked, in words."""
    if isinstance(audit, SumAudit):
        return f"the sum over {audit.clients} clients, {audit.colluders} of which collude with the server,"
    return f"{audit.clients} clients"


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, say what was found; 1 if the claim is refuted."""
    torch.set_num_threads(1)
    options, start = read_options(arguments), time.monotonic()
    audit = audit_of(options)
    ceiling = audit_bound.ceiling(audit.total, audit.delta)
    if ceiling <= audit.epsilon:
        raise SystemExit(
            f"--canaries: {audit.total} in all prove at most {ceiling:.2f}, and {audit.epsilon:g} is claimed; take more"
        )
    if options.power:
        print("\n".join(power(audit)))
        return 0
    times = BROKEN.get(options.broken, 1.0) if options.times is None else options.times
    verdict = run(audit, options.broken, times, machines=options.machines)
    found, what = verdict.found, f"persons of {audit.person} texts" if audit.person else "texts"
    unpromised = audit.person > 1 and audit.unit == "example"
    print(
        f"attacked {attacked(audit)} in {audit.rounds} rounds, privacy.unit = {audit.unit}"
        + (f", broken: {options.broken}, {times:g} times" if options.broken else "")
        + f": {audit.total} canaries, {what}, each in or out by the toss of a coin\n"
        f"told right: {verdict.all_right:.1%} of all, {found.right} of the surest {found.guesses}\n"
        f"epsilon is at least {found.epsilon:.2f} ({1 - audit_bound.RISK:.0%} confidence, delta {audit.delta:g}); "
        f"claimed {verdict.claim:.2f}; with all guesses right it would be {verdict.ceiling:.2f}\n"
        f"{'REFUTED' if verdict.refuted else 'not refuted'}"
        + (" for persons, whom privacy.unit = example does not promise to protect" if unpromised else "")
        + f" ({time.monotonic() - start:.0f} seconds)"
    )
    return int(verdict.refuted)


if __name__ == "__main__":
    sys.exit(main())
