"""Is the learning real? The demo over seeds, beside what it must be compared with.

Kinds of head: `labels` (made of label names, frozen) and `native` (the model's own, random at first,
trained and shared). For each seed and each kind of head: the federated run's accuracy on the clients' held-out texts,
the untrained start, the same adapter trained by one client alone, and the same adapter trained
centrally on the pooled data for the same number of steps of the same size. Beside them, a bag-of-words
logistic regression on the pooled data. Nothing is tuned per seed or per method.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from bract.cli.simulation import cpus
from bract.results.run_folder import read_rows
from bract.settings.read import read
from bract.settings.schema import Settings

if TYPE_CHECKING:
    from bract.tasks.task import Examples, Rows

CLIENTS = 10
COMMON: dict[str, object] = {"privacy.unit": "none", "train.batch": 8, "train.steps": 20}
HEADS: dict[str, dict[str, object]] = {"labels": COMMON, "native": {**COMMON, "model.pooling": "native"}}


def federated(values: dict[str, object], seed: int) -> tuple[float, float]:
    """Accuracy before and after a run of the demo through Flower's simulation."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        file = Path(scratch) / "run.toml"
        settings = {**values, "seed": seed, "run.folder": str(folder)}
        file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        command = [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--nodes", str(CLIENTS), "-c", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = read_rows(folder / "rounds.jsonl")
    return rows[0]["accuracy"], rows[-1]["accuracy"]


def alone_or_central(values: dict[str, object], seed: int, central: bool, everything: bool = False) -> float:
    """The same adapter without a federation, measured on the same held-out texts.

    Central: the pooled training texts, for as many examples as all clients' local rounds together have.
    Alone: the first client's texts, for as many as its own local rounds have. `everything` trains A and the
    head too, which FFA-LoRA does not.
    """
    import numpy as np
    import torch

    from bract.adapter.layout import Part
    from bract.models.lora_model import shape
    from bract.settings.steps import steps_in_round
    from bract.tasks.classification import CLASSIFICATION
    from bract.tasks.task import summed
    from bract.tasks.tokens import pad_id
    from client_app.data import cache
    from client_app.training.loop import Phase, train
    from strategies.federation import head_mode

    torch.set_num_threads(1)
    settings: Settings = read({**values, "seed": seed})
    table, outputs = cache.dataset(settings.data, seed, CLASSIFICATION.name)
    form = shape(settings, outputs.size, CLASSIFICATION.auto_class)
    net = cache.model(form)
    for part, vector in cache.first_parts(form, outputs.descriptions, settings.data.max_length).items():
        net.set(part, vector, net.layout)
    split = cache.partition(settings.data, seed, CLASSIFICATION.name, CLIENTS)
    shards = [split.shard(i) for i in range(CLIENTS)]

    def of(rows: "Rows") -> "Examples":
        return CLASSIFICATION.examples(table, rows, outputs, form.place, settings.data.max_length)

    selected = shards if central else shards[:1]
    steps = settings.rounds * sum(steps_in_round(settings.train, len(s.train), private=False).total for s in selected)
    parts: tuple[Part, ...] = ("B",)
    if head_mode(settings, form.head_init) != "frozen":
        parts = ("B", "head")
    if everything:
        parts = ("A", "B", "head")
    seen = of(np.concatenate([s.train for s in selected]))
    train(
        net,
        seen,
        settings.train,
        Phase(parts, steps),
        np.random.default_rng(seed),
        losses=CLASSIFICATION.losses,
        pad=pad_id(form.place),
    )
    found = CLASSIFICATION.measure(net, of(np.concatenate([s.holdout for s in shards])))
    return CLASSIFICATION.figures(summed(found))["accuracy"]


def bag_of_words(seed: int) -> float:
    """TF-IDF of single words and logistic regression, the best of four strengths on the test itself."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from bract.data.partition import Partition
    from bract.data.tables import load
    from bract.tasks.classification import CLASSIFICATION

    settings = read({"seed": seed})
    table = load(settings.data, seed, CLASSIFICATION)
    shards = [Partition(table, settings.data, CLIENTS, seed).shard(i) for i in range(CLIENTS)]
    texts, labels = (np.array(table.columns[name]) for name in ("text", "label"))
    seen = np.concatenate([s.train for s in shards])
    held = np.concatenate([s.holdout for s in shards])
    scores = []
    for strength in (1, 3, 10, 30):
        model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=strength, max_iter=500))
        scores.append(float(model.fit(texts[seen], labels[seen]).score(texts[held], labels[held])))
    return max(scores)


def line(name: str, values: list[float]) -> str:
    """Mean, spread and the single values."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    each = " ".join(f"{value:.3f}" for value in values)
    return f"  {name:<34} {statistics.mean(values):.3f} ± {spread:.3f}   ({each})"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--head", choices=list(HEADS), action="append", help="default: each of them")
    options = parser.parse_args()
    seeds = range(options.seeds)
    print(f"the demo, {CLIENTS} clients, strategy ffa, {len(seeds)} seeds: mean ± standard deviation", flush=True)
    print(line("bag of words, pooled", [bag_of_words(seed) for seed in seeds]), flush=True)
    for name in options.head or HEADS:
        values = HEADS[name]
        print(f"\nhead: {name}", flush=True)
        runs = [federated(values, seed) for seed in seeds]
        print(line("untrained", [start for start, _ in runs]), flush=True)
        print(line("federated", [end for _, end in runs]), flush=True)
        with ProcessPoolExecutor(cpus(), max_tasks_per_child=1) as pool:
            for what, central in (("one client alone", False), ("central, as many examples", True)):
                jobs = [pool.submit(alone_or_central, values, seed, central) for seed in seeds]
                print(line(what, [job.result() for job in jobs]), flush=True)


if __name__ == "__main__":
    main()
