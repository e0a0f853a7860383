"""What a client's local round costs with each method, relative to FedIT.

Real local rounds of one client of the demo, MiniLM, five epochs over the same examples, from the message's content to
the reply's; no Flower between. The methods take turns, so that the machine's moods fall on all alike. Methods that
alternate are timed in a round of B and in one of A. Printed, of CPU time: the median over repetitions of the ratio
to FedIT's in the same repetition, and its range. LoRA-A2's paper has 1.17 for itself (six epochs to five) and
0.93 for FFA.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["BRACT_HOME"] = tempfile.mkdtemp()  # local parts of clients that are gone with this process

VARIANTS: dict[str, dict[str, Any]] = {
    "fedit": {},
    "ffa": {},
    "rolora": {},
    "lora-a2": {},
    "fedsa": {},
    "fedsa, vera 256": {"lora.variant": "vera", "lora.rank": 256},
    "hetlora": {},
    "flexlora": {},
}


def local_rounds(targets: str, clients: int) -> dict[str, Callable[[int], float]]:
    """For each method a function that trains one local round and gives its CPU seconds."""
    import torch
    from flwr.app import ConfigRecord

    from bract.adapter import initial
    from bract.choices import Head
    from bract.settings.methods import method_of
    from bract.settings.read import read
    from client_app.client import Client
    from client_app.rounds.local_round import train_round
    from strategies import Federation, Member, create
    from strategies.federation import to_arrays
    from tests.flower.messages import identify
    from tests.harness import InProcessGrid

    torch.set_num_threads(1)
    identify()
    grid = InProcessGrid(0, {})  # which no strategy asks

    def trainer(name: str, values: dict[str, Any]) -> Callable[[int], float]:
        method = name.partition(",")[0]
        common = {"train.steps": 0, "train.epochs": 5, "train.batch": 8, "privacy.unit": "none"}
        own = {"strategy.name": method, "lora.targets": targets, "data.partition": "iid", **values}
        settings = read({**common, **own})
        client = Client(settings, 0, clients)
        layout = client.layout
        rank = {"lora-a2": 2.0}.get(method, float(settings.lora.rank))
        members = (Member(0, 1, None, rank if method_of(method).unequal else float("inf")),)
        fingerprint = "".join(c for c in name if c.isalnum())
        head: Head = "local" if method == "fedsa" else "frozen"
        strategy = create(
            method, Federation(layout, members, fingerprint, task=client.task, head=head, strategy=settings.strategy)
        )
        parts = {**initial.draw(layout, 0, pooled=True)}
        parts["B"] = initial.uniform(0, "b", layout.size("B"), 0.01)

        def train(number: int) -> float:
            (message,) = strategy.configure_train(number, to_arrays(parts), ConfigRecord(), grid)
            start = time.process_time()
            train_round(client, message.content)
            return time.process_time() - start

        return train

    return {name: trainer(name, values) for name, values in VARIANTS.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clients", type=int, default=160, help="the demo is split so many ways, one trains")
    parser.add_argument("--targets", default="attention")
    options = parser.parse_args()
    trainers = local_rounds(options.targets, options.clients)
    vera = {name for name in trainers if "vera" in name}
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for repeat in range(options.repeats + 1):  # the first, which loads everything, is not counted
        for name in [n for n in trainers if n not in vera] + [n for n in trainers if n in vera]:
            if name in vera or name == next(iter(trainers)) or repeat == 0:
                trainers[name](1)  # another model for the worker than the last one's: loaded before it is timed
            seconds[name].append((trainers[name](3) + trainers[name](4)) / 2)
    print(f"{options.targets}, seconds of a local round: FedIT {statistics.median(seconds['fedit'][1:]):.2f}\n")
    for name, found in seconds.items():
        ratios = [mine / base for mine, base in zip(found[1:], seconds["fedit"][1:], strict=True)]
        print(f"{name:<18} {statistics.median(ratios):.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
