"""The same work written as Flower's public LoRA examples are, against Bract: wall time of five rounds of eight clients.

There (`benchmarks/public`), every message loads tokenizer and model from their files, wraps them by PEFT, tokenises,
pads every batch to its longest text and trains by a plain loop; the server takes the mean. Both sides train the same
number of steps of the same batch size on the demo's texts (or `--texts FILE`, CSV), without privacy; neither measures
accuracy.

By default without Flower's transport, on one thread. With `--machines`, by Flower's deployment runtime on this
machine's loopback, eight nodes at once on all cores: there Flower's own SuperNode starts a process for every message,
and `bract node` keeps one. From the moment that a run is handed in until it has ended; the nodes are up before. Bract
still asks its clients to measure, who hold nothing out.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "public")]
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["BRACT_HOME"] = tempfile.mkdtemp()

from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.settings.schema import Settings

CLIENTS = 8
RATE = 0.004


def settings_of(rounds: int, texts: Path) -> dict[str, Any]:
    """The defaults, without privacy; a head of random values, as the public examples have it."""
    changes = {"privacy.unit": "none", "strategy.name": "fedit", "rounds": rounds, "model.pooling": "native"}
    data = {"data.source": f"file:{texts}", "data.partition": "iid", "data.holdout": 0.0, "train.lr": RATE}
    return {**Settings().flat(), **changes, **data, "lora.head-init": "random"}


def as_public(rounds: int, texts: Path) -> float:
    """Seconds of the public way, in this process."""
    import peft  # noqa: F401 - before the clock starts
    import torch
    import transformers  # noqa: F401 - the same
    from public_app.task import turn  # an app of its own, by its own name

    from bract.models.base_model import locate

    rows = list(csv.DictReader(texts.open(newline="", encoding="utf-8")))
    names = sorted({row["label"] for row in rows})
    train = Settings().train
    start, shared = time.perf_counter(), None
    for _ in range(rounds):
        found = []
        for client in range(CLIENTS):
            mine = rows[client::CLIENTS]
            labels = [names.index(row["label"]) for row in mine]
            words = [row["text"] for row in mine]
            place = str(locate("minilm"))
            found.append(turn(place, words, labels, len(names), shared, train.steps, train.batch, RATE))
        shared = {name: torch.stack([one[name] for one in found]).mean(0) for name in found[0]}
    return time.perf_counter() - start


def as_bract(rounds: int, texts: Path) -> float:
    """Seconds of the ClientApp and the strategy, as they are, in this process."""
    from client_app.data import cache
    from server_app.rounds import Rounds, run
    from tests.harness import InProcessGrid

    kept = (
        cache.dataset,
        cache.partition,
        cache.shard,
        cache.shared,
        cache.layout,
        cache.model,
        cache.first_parts,
    )
    for cached in kept:
        cached.cache_clear()  # a process that has just begun
    Rounds._measure = lambda self, state: None  # type: ignore[method-assign]  # training alone is timed
    with tempfile.TemporaryDirectory() as folder:
        config = {**settings_of(rounds, texts), "run.folder": f"{folder}/run"}
        start = time.perf_counter()
        run(InProcessGrid(CLIENTS, config), read(config))
        return time.perf_counter() - start


def by_machines(kind: str, rounds: int, texts: Path) -> float:
    """Seconds of a run by Flower's deployment runtime."""
    from benchmarks.loopback import BRACT, Loopback
    from bract.models.base_model import locate
    from bract.processes import tool
    from bract.settings.flat import toml

    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        here, joined = Loopback(Path(scratch), stack), [0]
        here.link()

        def listen(line: str) -> None:
            joined[0] += "SuperNode ID" in line

        for i in range(CLIENTS):
            here.node(kind, i, CLIENTS, listen)
        while joined[0] < CLIENTS:
            time.sleep(0.2)
        time.sleep(15)  # for the trainers, of which nothing is waited for in Flower's own way
        start = time.perf_counter()
        if kind == "bract node":
            file = Path(scratch) / "run.toml"
            values = {**settings_of(rounds, texts), "run.folder": f"{scratch}/run"}
            file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
            here.call(*BRACT, "run", ROOT, "--superlink", "here", "-c", file)
            whole = time.perf_counter() - start
            rows = read_rows(Path(scratch) / "run" / "rounds.jsonl")
            print(f"Bract: {whole:.1f} s, of which rounds {[row['seconds'] for row in rows]}", flush=True)
            return whole
        train = Settings().train
        config = f"rounds={rounds} texts={toml(str(texts))} model={toml(str(locate('minilm')))} "
        config += f"steps={train.steps} batch={train.batch} lr={RATE}"
        flwr = tool("flwr")
        told = here.call(flwr, "run", ROOT / "benchmarks" / "public", "here", "-c", config, "--format", "json")
        run, status = json.loads(told)["run-id"], ""
        while not status.startswith("finished"):
            time.sleep(2)
            listed = here.call(flwr, "list", "--run-id", run, "here", "--format", "json")
            status = json.loads(listed)["runs"][0]["status"]
        if status != "finished:completed":
            raise SystemExit(here.call(flwr, "log", run, "here", "--show"))
        whole = time.perf_counter() - start
        print(f"as public: {whole:.1f} s", flush=True)
        return whole


def demo_texts(place: Path) -> Path:
    """The demo's, as a file that both sides read."""
    from bract.data.demo import generator

    with (place / "demo.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([example.text, example.label] for example in generator.make(seed=0))
    return place / "demo.csv"


def main() -> None:
    """Print the ratio."""
    import contextlib
    import io
    import logging

    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--texts", type=Path, help="CSV with the columns text and label (default: the demo's)")
    parser.add_argument("--machines", action="store_true", help="by Flower's deployment runtime, on loopback")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"public": [], "bract": []}
    with tempfile.TemporaryDirectory() as scratch:
        texts = options.texts.resolve() if options.texts else demo_texts(Path(scratch))
        for _ in range(options.repeats):
            if options.machines:
                seconds["public"].append(by_machines("flower-supernode", options.rounds, texts))
                seconds["bract"].append(by_machines("bract node", options.rounds, texts))
                continue
            logging.disable(logging.WARNING)
            seconds["public"].append(as_public(options.rounds, texts))
            with contextlib.redirect_stdout(io.StringIO()):
                seconds["bract"].append(as_bract(options.rounds, texts))
    each = [there / here for there, here in zip(seconds["public"], seconds["bract"], strict=True)]
    middle = {way: statistics.median(found) for way, found in seconds.items()}
    print(f"{options.rounds} rounds of {CLIENTS} clients: {middle['public']:.1f} s there, {middle['bract']:.1f} s")
    print(f"public ÷ Bract {statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})")


if __name__ == "__main__":
    main()
