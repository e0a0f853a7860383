"""How much sooner the lifetime limit is reached than the composed privacy loss of the same runs would reach it.

For runs that spend a target exactly, counted as if all had been fixed beforehand (prv): epsilon by the filter of
`bract/privacy/lifetime.py`, whose orders are those of the limit, as a multiple of the target. Then what a server gains
that chooses each run after seeing the one before: the true delta at the limit, where the rule is the composed epsilon
and where it is the filter.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

RUNS = [
    ("the demo's largest client", 0.125, 25),
    ("the demo's smallest client", 0.297, 25),
    ("a long run", 0.1, 300),
    ("many steps at a low rate", 0.01, 2000),
    ("few steps at a low rate", 0.02, 20),
    ("one release of all", 1.0, 1),
]
TARGETS = (8.0, 3.0, 1.0)
DELTA = 1e-5
LAST = [(1.0, 1), (0.1, 100), (0.02, 100), (0.005, 20), (0.001, 5)]


def looseness() -> None:
    """The first table."""
    from bract.privacy.accounting import Use, noise_for
    from bract.privacy.lifetime import spent
    from bract.privacy.spending import Limit

    print("| run | sampling rate | steps | " + " | ".join(f"ε = {target:g}" for target in TARGETS) + " |")
    print("|---|---|---|" + "---|" * len(TARGETS))
    for name, rate, steps in RUNS:
        found = [
            spent([Use(noise_for(target, DELTA, rate, steps), rate, steps)], Limit(target, DELTA)) / target
            for target in TARGETS
        ]
        print(f"| {name} | {rate:g} | {steps} | " + " | ".join(f"{value:.2f}" for value in found) + " |")


def adversary() -> None:
    """The second one."""
    from bract.privacy.accounting import Use, epsilon
    from bract.privacy.lifetime import fits
    from bract.privacy.spending import Limit
    from tests.bract.privacy.adversary import Rule, largest, worst_delta

    def composed(limit: Limit) -> Rule:
        return lambda uses: epsilon(uses, limit.delta) <= limit.epsilon

    def filtered(limit: Limit) -> Rule:
        return lambda uses: fits(uses, limit)

    print("\n| limit | true δ, composed | true δ, filter |")
    print("|---|---|---|")
    for target in TARGETS:
        limit, row = Limit(target, DELTA), []
        for rule in (composed, filtered):
            first = largest(rule(Limit(target / 2, DELTA)), [], 1.0, 5)
            before: list[Use] = [] if first is None else [first]
            last = [largest(rule(limit), before, *shape) for shape in LAST]
            menus = [before, [use for use in last if use is not None]]
            row.append(worst_delta(menus, rule(limit), target, pessimistic=rule is filtered))
        print(f"| ({target:g}, {DELTA:g}) | {row[0]:.2g} | {row[1]:.2g} |", flush=True)


if __name__ == "__main__":
    looseness()
    adversary()
