"""Does each method learn? All of them on the demo, split by labels so that no two clients are alike.

Through Flower's simulation, with one set of rates for all (`--lr`): nothing is tuned for a method. For every
method and seed: accuracy by round on the clients' held-out texts (pooled; mean, spread and worst tenth of
the clients), bytes, and how alike the clients' updates are. Beside them the same adapter trained by each
client alone and on the pooled texts. Rows are kept in a file, so it can be stopped and goes on.
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
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from bract.cli.simulation import cpus
from bract.files import home
from bract.results.report.pages import mean_between
from bract.results.run_folder import read_rows
from bract.settings.read import read
from server_app.checkpoint import Checkpoint

CLIENTS = 10
COMMON: dict[str, Any] = {
    "data.partition": "dirichlet:0.1",
    "rounds": 6,
    "train.steps": 12,
    "train.batch": 8,
    "privacy.unit": "none",
}
# VeRA's rank costs two vectors, not two matrices, and is usually in the hundreds.
VARIANTS: dict[str, dict[str, Any]] = {
    "fedit": {"strategy.name": "fedit"},
    "ffa": {"strategy.name": "ffa"},
    "rolora": {"strategy.name": "rolora"},
    "lora-a2": {"strategy.name": "lora-a2"},
    "fedsa": {"strategy.name": "fedsa"},
    "fedsa, rslora": {"strategy.name": "fedsa", "lora.variant": "rslora"},
    "fedsa, vera 256": {"strategy.name": "fedsa", "lora.variant": "vera", "lora.rank": 256},
    "hetlora": {"strategy.name": "hetlora"},
    "flexlora": {"strategy.name": "flexlora"},
}


def federated(values: dict[str, Any], seed: int) -> dict[str, Any]:
    """One run through Flower's simulation: what its folder says."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, file = Path(scratch) / "run", Path(scratch) / "run.toml"
        settings = {**COMMON, **values, "seed": seed, "run.folder": str(folder)}
        file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        command = [sys.executable, "-m", "bract.cli", "run", str(ROOT), "--nodes", str(CLIENTS), "-c", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows, diagnostics = read_rows(folder / "rounds.jsonl"), read_rows(folder / "pictures.jsonl")
        kept = local_b(folder) if values["strategy.name"] == "fedsa" else {}
    keys = ("accuracy", "accuracy_mean", "accuracy_std", "accuracy_worst")
    found = {key: [row[key] for row in rows] for key in keys}
    found |= {key: [sum(row[key] for row in rows)] for key in ("upload_bytes", "download_bytes", "upload_values")}
    for key in ("update_similarity_A", "update_similarity_B", "distance_A", "distance_B", "slot_overlap"):
        found[key] = [mean_between(row[key]) for row in diagnostics if key in row]
    found["ranks"] = [statistics.mean(row["ranks"]) for row in diagnostics]
    return {**found, **kept}


def local_b(folder: Path) -> dict[str, Any]:
    """How alike the clients' own B's are. No server can know: this reads the clients' disks, which are all here."""
    import numpy as np
    from safetensors.numpy import load_file

    state = Checkpoint.load(folder / "checkpoint" / "state.safetensors")
    clients = sorted((home() / "state" / state.federation).iterdir())
    vectors = [load_file(sorted(client.glob("*.safetensors"))[-1])["B"] for client in clients]
    rows = np.stack(vectors).astype(np.float64)  # B began at zero: so it is its own change
    lengths = np.linalg.norm(rows, axis=1)
    cosines = (rows / lengths[:, None]) @ (rows / lengths[:, None]).T
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1) / lengths.mean()
    return {
        "update_similarity_B": [mean_between(cosines.tolist())],
        "distance_B": [mean_between(apart.tolist())],
    }


def without(seed: int, pooled: bool, lr: float) -> dict[str, Any]:
    """A, B and head trained by each client alone, for the steps of its local rounds, or by all texts together."""
    import numpy as np
    import torch

    from bract.models.lora_model import shape
    from bract.tasks.classification import CLASSIFICATION
    from bract.tasks.task import Examples, summed
    from bract.tasks.tokens import pad_id
    from client_app.data import cache
    from client_app.training.loop import Phase, train
    from server_app.rounds import between_clients

    torch.set_num_threads(1)
    settings = read({**COMMON, "train.lr": lr, "seed": seed})
    task = CLASSIFICATION
    outputs = cache.dataset(settings.data, seed, task.name)[1]
    form = shape(settings, outputs.size, task.auto_class)
    net = cache.model(form)
    first = cache.first_parts(form, outputs.descriptions, settings.data.max_length)
    shards = [cache.shard(settings.data, seed, task.name, CLIENTS, i, form.place) for i in range(CLIENTS)]
    steps = settings.rounds * settings.train.steps
    rng = np.random.default_rng(seed)

    def fit(examples: Examples, count: int) -> None:
        for part, vector in first.items():
            net.set(part, vector, net.layout)
        train(
            net,
            examples,
            settings.train,
            Phase(("A", "B", "head"), count),
            rng,
            losses=task.losses,
            pad=pad_id(form.place),
        )

    if pooled:
        tokens = [t for s in shards for t in s.train.tokens]
        fit(Examples(tokens, np.concatenate([s.train.targets for s in shards])), steps * CLIENTS)
    found = []
    for shard in shards:
        if not pooled and len(shard.train):
            fit(shard.train, steps)
        if len(shard.holdout):
            found.append(summed(task.measure(net, shard.holdout)))
    whole = {name: sum(one[name] for one in found) for name in found[0]}
    each = between_clients(task, [task.figures(one)["accuracy"] for one in found])
    return {"accuracy": [task.figures(whole)["accuracy"]], **{key: [value] for key, value in each.items()}}


def spread(values: list[float | None]) -> str:
    """Mean ± standard deviation over seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.mean(known):.3f}" + (f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else "")


def table(rows: list[dict[str, Any]]) -> None:
    """Print what was found."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    heads = (("accuracy", 16), ("client mean", 16), ("between", 9), ("worst tenth", 16), ("MB up", 8), ("down", 8))
    print("\n" + " " * 18 + "".join(f"{head:>{width}}" for head, width in heads) + "  accuracy by round")
    for name in names:
        runs = [row for row in rows if row["name"] == name]
        last = {k: spread([run[k][-1] for run in runs]) for k in ("accuracy", "accuracy_mean", "accuracy_worst")}
        between = f"{statistics.mean(run['accuracy_std'][-1] for run in runs):.3f}"
        up, down = (
            f"{statistics.mean(run[k][0] for run in runs) / 1e6:.2f}" if k in runs[0] else "-"
            for k in ("upload_bytes", "download_bytes")
        )
        curve = " ".join(f"{statistics.mean(c):.3f}" for c in zip(*(run["accuracy"] for run in runs), strict=True))
        print(
            f"{name:<18}{last['accuracy']:>16}{last['accuracy_mean']:>16}{between:>9}{last['accuracy_worst']:>16}"
            f"{up:>8}{down:>8}  {curve}"
        )
    print("\nhow alike clients are in the last round (update similarity: mean cosine; distance: over the mean length)")
    keys = ("update_similarity_A", "update_similarity_B", "distance_A", "distance_B", "slot_overlap", "ranks")
    for name in names:
        runs = [row for row in rows if row["name"] == name and "ranks" in row]
        shown = {key: spread([run[key][-1] for run in runs if run[key]]) for key in keys if runs}
        if shown:
            print(f"{name:<18}" + "  ".join(f"{key} {value}" for key, value in shown.items() if value != "-"))


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.004, help="of A and the head; B's is five times that")
    parser.add_argument("--rows", type=Path, default=Path("methods.jsonl"), help="where results are kept")
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="default: each of them")
    options = parser.parse_args()
    rows = read_rows(options.rows)

    def keep(name: str, seed: int, found: dict[str, Any]) -> None:
        rows.append({"name": name, "seed": seed, **found})
        with options.rows.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(f"seed {seed}, {name}: {found['accuracy'][-1]:.4f}", flush=True)

    done = {(row["name"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        for name in options.only or VARIANTS:
            if (name, seed) not in done:
                keep(name, seed, federated({**VARIANTS[name], "train.lr": options.lr}, seed))
        beside = [(n, pooled) for n, pooled in (("each alone", False), ("pooled", True)) if (n, seed) not in done]
        if beside and not options.only:
            with ProcessPoolExecutor(cpus(), max_tasks_per_child=1) as pool:
                jobs = [(name, pool.submit(without, seed, pooled, options.lr)) for name, pooled in beside]
                for name, job in jobs:
                    keep(name, seed, job.result())
    table(rows)


if __name__ == "__main__":
    main()
