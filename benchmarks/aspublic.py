"""The same work written as Flower's public LoRA examples are, against Bract: wall time of five rounds of eight clients.

There, every message loads tokenizer and model from their files, wraps them by PEFT, sets what was received, tokenises,
pads every batch to its longest text and trains by Hugging Face's own loop; the server takes the mean. Both sides train
the demo's clients for the same steps of the same batch size, without privacy and without Flower's transport between,
on one thread; neither measures accuracy. What starting a process for every message would cost is not in it.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["BRACT_HOME"] = tempfile.mkdtemp()

import numpy as np
import torch

from bract.settings import Settings, read

CLIENTS = 8


def settings_of(rounds: int) -> dict[str, Any]:
    """The demo's, without privacy; a head of random values, as the public examples have it."""
    changes = {"privacy.unit": "none", "strategy.name": "fedit", "rounds": rounds, "model.pooling": "native"}
    return {**Settings().flat(), **changes, "lora.head-init": "random"}


def as_public(rounds: int) -> float:
    """Seconds of the public way."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from torch.utils.data import DataLoader
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    from bract.base import locate
    from client_app import worker

    settings = read(settings_of(rounds))
    table, labels = worker.dataset(settings.data, settings.seed)
    split = worker.partition(settings.data, settings.seed, CLIENTS)
    number = {name: i for i, name in enumerate(labels.names)}
    start, shared = time.perf_counter(), None
    for _ in range(rounds):
        results = []
        for client in range(CLIENTS):
            tokenizer = AutoTokenizer.from_pretrained(locate("minilm"))
            model = AutoModelForSequenceClassification.from_pretrained(locate("minilm"), num_labels=len(number))
            config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
            model = get_peft_model(model, config)
            if shared is not None:
                set_peft_model_state_dict(model, shared)
            rows = split.shard(client).train
            items = [
                {**tokenizer(table.texts[i], truncation=True, max_length=64), "labels": number[table.labels[i]]}
                for i in rows
            ]
            loader = DataLoader(
                items, settings.train.batch, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer)
            )
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.004)
            model.train()
            left = settings.train.steps
            while left:
                for batch in loader:
                    model(**batch).loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    left -= 1
                    if not left:
                        break
            results.append({name: value.clone() for name, value in get_peft_model_state_dict(model).items()})
        shared = {name: torch.stack([r[name] for r in results]).mean(0) for name in results[0]}
    return time.perf_counter() - start


def as_bract(rounds: int) -> float:
    """Seconds of the ClientApp and the strategy, as they are."""
    from server_app.rounds import Rounds, run
    from tests.harness import InProcessGrid

    Rounds._measure = lambda self, state: None
    with tempfile.TemporaryDirectory() as folder:
        config = {**settings_of(rounds), "run.folder": f"{folder}/run"}
        start = time.perf_counter()
        run(InProcessGrid(CLIENTS, config), read(config))
        return time.perf_counter() - start


def main() -> None:
    """Print the ratio."""
    import contextlib
    import io
    import logging

    from client_app import worker

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    seconds: dict[str, list[float]] = {"public": [], "bract": []}
    for _ in range(options.repeats):
        seconds["public"].append(as_public(options.rounds))
        for cached in (
            worker.dataset,
            worker.partition,
            worker.shard,
            worker.layout,
            worker.classifier,
            worker.first_parts,
        ):
            cached.cache_clear()  # a process that has just begun
        with contextlib.redirect_stdout(io.StringIO()):
            seconds["bract"].append(as_bract(options.rounds))
    each = np.array(seconds["public"]) / np.array(seconds["bract"])
    middle = {way: statistics.median(found) for way, found in seconds.items()}
    print(f"{options.rounds} rounds of {CLIENTS} clients: {middle['public']:.1f} s there, {middle['bract']:.1f} s")
    print(f"public ÷ Bract {np.median(each):.2f} ({each.min():.2f} to {each.max():.2f})")


if __name__ == "__main__":
    main()
