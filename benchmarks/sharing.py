"""What workers win by sharing tokenised texts: a worker that reads them itself, the first of a run, and the next.

Each is a process of its own that asks for the data of all clients. Memory is what the process has for itself alone
(pages of a mapped file that others may have too are not), above what it had before.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bract.data.demo import generator

KINDS = ("by itself", "the first", "the next")


def ask(kind: str, file: str, clients: int) -> None:
    """One worker; prints its figures."""
    from bract.models.base_model import locate
    from bract.settings.schema import DataSettings
    from bract.tasks.classification import CLASSIFICATION
    from bract.tasks.tokens import tokenise
    from client_app.data import cache

    data, place = DataSettings(source=f"file:{file}", partition="iid"), locate("minilm")
    task = CLASSIFICATION.name
    tokenise(["warm"], place, 8)
    import datasets  # noqa: F401 - what partitioning imports counts for nobody
    import flwr_datasets.partitioner  # noqa: F401 - the same

    before, start = own(), time.perf_counter()
    if kind == "by itself":
        shards = [cache.tokenised(data, 0, task, clients, client, place) for client in range(clients)]
    else:
        cache.simulated = lambda: True
        found = cache.shared(data, 0, task, clients, place, 1)
        assert found is not None
        shards = list(found.shards)
    read = sum(int(ids.sum()) for shard in shards for ids in shard.train.tokens)
    print(json.dumps({"seconds": time.perf_counter() - start, "memory": own() - before, "read": read}))


def own() -> float:
    """MB that are backed by no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        kind, of = options.ask
        ask(kind, of, options.clients)
        return
    with tempfile.TemporaryDirectory() as scratch:
        drawn, file, examples = random.Random(0), Path(scratch) / "texts.csv", generator.make(seed=0)
        with file.open("w", newline="", encoding="utf-8") as out:
            rows = csv.writer(out)
            rows.writerow(["text", "label"])
            rows.writerows((one.text, one.label) for one in drawn.choices(examples, k=options.texts))
        print(f"{options.texts} texts, {options.clients} clients")
        for kind in KINDS:
            asking = ["--ask", kind, str(file), "--clients", str(options.clients)]
            told = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, *asking],
                check=True,
                capture_output=True,
                text=True,
                env={**os.environ, "BRACT_HOME": scratch},
            )
            found = json.loads(told.stdout)
            print(f"  {kind:<10} {found['seconds']:6.1f} s   {found['memory']:6.0f} MB of its own")


if __name__ == "__main__":
    main()
