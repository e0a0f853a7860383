"""How fast is local training? Bract's engine against what people use, and against itself with and without privacy.

All in one run, taking turns, as ratios of CPU time on one thread: the median over repetitions and its range. An
epoch is as many Poisson draws as pass over the texts once on average; the other side is Hugging Face, PEFT and
Opacus's hooks on the same draws, 32 texts at a time in the order of the draw, padded to the longest. Texts are the
demo's, or files that are named: `--texts FILE:COLUMN` (CSV or JSON lines; COLUMN+COLUMN joins two); only their
lengths matter.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from bract.adapter.initial import draw
from bract.adapter.layout import Part
from bract.batching import batch_of
from bract.choices import Pooling
from bract.models.lora_model import LoraModel, Shape, build
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples
from bract.tasks.tokens import tokenise
from client_app.engine.auto_engine import select_engine
from client_app.engine.engine import Rows
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.opacus import PHYSICAL_BATCH, OpacusEngine
from client_app.training.gradients import PlainGradients, PrivateGradients
from client_app.training.optimizer import FlatOptimizer

# Texts, how many of them are in a draw on average, the head.
SIZES: dict[str, tuple[int, int, Pooling]] = {
    "minilm": (192, 64, "mean"),
    "minilm, native": (192, 64, "native"),
    "roberta-base shape": (128, 64, "native"),
}
KINDS = ["Opacus", "fused", "fused, plain", "PEFT, plain"]
PARTS: tuple[Part, ...] = ("B", "head")
losses = CLASSIFICATION.losses


class AsPeopleDo(OpacusEngine):
    """Texts in the order they were drawn."""

    def split(self, examples: Examples, rows: Rows, *, clipped: bool, persons: Rows | None = None) -> list[Rows]:
        """So many at a time as fit into memory."""
        return [rows[start : start + PHYSICAL_BATCH] for start in range(0, len(rows), PHYSICAL_BATCH)]


def model_of(kind: str, scratch: str) -> LoraModel:
    """MiniLM as it is, or RoBERTa-base's shape with random weights."""
    from bract.models.base_model import locate

    if kind.startswith("roberta"):
        from transformers import RobertaConfig, RobertaForSequenceClassification

        torch.manual_seed(0)
        config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
        RobertaForSequenceClassification(config).save_pretrained(scratch)
    place = scratch if kind.startswith("roberta") else locate("minilm")
    net = build(Shape(place, SIZES[kind][2], 77, 8, 16.0, "attention", "random", 0, 512))
    rng = np.random.default_rng(0)
    for part, vector in draw(net.layout, 0, pooled=SIZES[kind][2] != "native").items():
        net.set(part, vector + (part == "B") * 0.01 * rng.normal(size=len(vector)).astype(np.float32), net.layout)
    return net


def texts_of(source: str, count: int) -> list[str]:
    """So many texts of a file's column, or of the demo."""
    from bract.data.demo import generator
    from bract.data.tables import read_rows

    if source == "demo":
        return [example.text for example in generator.make(seed=0)][:count]
    path, _, columns = source.partition(":")
    rows = read_rows(Path(path).resolve(), "--texts")
    wanted = zip(*(rows[column] for column in columns.split("+")), strict=True)
    joined = [" ".join(str(value) for value in values) for values in wanted]
    return [joined[i] for i in np.random.default_rng(0).permutation(len(joined))[:count]]


def examples_of(source: str, kind: str) -> Examples:
    """The texts' lengths in MiniLM's tokens; the tokens themselves are any."""
    from bract.models.base_model import locate

    rng = np.random.default_rng(1)
    lengths = [len(ids) for ids in tokenise(texts_of(source, SIZES[kind][0]), locate("minilm"), 512)]
    tokens = [rng.integers(5, 20_000, length).astype(np.int32) for length in lengths]
    return Examples(tokens, rng.integers(0, 77, len(tokens)))


def opened(net: LoraModel) -> FlatBuffer:
    """What trains, set to do so."""
    flat = FlatBuffer(net, PARTS)
    for view in flat.views:
        view.parameter.requires_grad_(True)
    return flat


class Trainer:
    """One way to train, over the same draws as the others."""

    def __init__(self, name: str, net: LoraModel, examples: Examples, batch: int) -> None:
        self.name, self.net, self.examples = name, net, examples
        self.mechanism = Mechanism(8.0, 1e-5, "prv", 1.0, 1.0, batch / len(examples), float(batch), 4, 1)
        self.steps = max(1, round(len(examples) / batch))
        self.start = {part: net.get(part) for part in PARTS}

    def epoch(self, seed: str = "draws", steps: int | None = None) -> float:
        """CPU seconds of an epoch from the first values; the same seed has the same draws and noise."""
        net = self.net
        net.requires_grad_(False)
        for part, vector in self.start.items():
            net.set(part, vector, net.layout)
        started = time.process_time()
        flat, noise = opened(net), SecureNoise(seed)
        optimizer = FlatOptimizer(flat, TrainSettings(), 0.004)
        others = "Opacus" in self.name or "PEFT" in self.name
        engine = (
            AsPeopleDo(net, flat, losses=losses, pad=1)
            if others
            else select_engine(TrainSettings(), net, flat, losses=losses, pad=1)
        )
        draws = [self.mechanism.sample(noise, len(self.examples)) for _ in range(steps or self.steps)]
        with engine:
            source: PlainGradients | PrivateGradients
            if "plain" in self.name:
                source = PlainGradients(engine, flat, 1, np.random.default_rng(0))
            else:
                source = PrivateGradients(engine, flat, self.mechanism, noise)
            for rows in draws:
                optimizer.step(source.gradient(self.examples, rows)[0])
        return time.process_time() - started


def ratio(a: list[float], b: list[float]) -> str:
    """The median of ratios, and their range."""
    each = [x / y for x, y in zip(a, b, strict=True)]
    return f"{statistics.median(each):.3f} ({min(each):.3f} to {max(each):.3f})"


def small(trainer: Trainer) -> dict[str, float]:
    """Seconds of what is not gradients in one step of the fused engine."""
    net, examples, rows = trainer.net, trainer.examples, np.arange(trainer.mechanism.batch, dtype=np.int64)
    flat = opened(net)
    optimizer = FlatOptimizer(flat, TrainSettings(), 0.004)
    with select_engine(TrainSettings(), net, flat, losses=losses, pad=1) as engine:
        groups = engine.split(examples, rows, clipped=True)
        work: dict[str, Callable[[], object]] = {
            "building batches": lambda: [batch_of([examples.tokens[i] for i in g], 1, net.device) for g in groups],
            "grouping": lambda: engine.split(examples, rows, clipped=True),
            "merging": engine.start,
            "noise": lambda: SecureNoise().normal(flat.size),
            "the optimizer": lambda: optimizer.step(flat.zeros()),
        }
        seconds = {}
        for name, doing in work.items():
            doing()
            start = time.process_time()
            for _ in range(5):
                doing()
            seconds[name] = (time.process_time() - start) / 5
    return seconds


def status(name: str) -> int:
    """A figure of this process, in kB, as Linux gives it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak(kind: str, source: str, name: str) -> float:
    """Peak memory of a process that trains so, in MB above what it had before it."""
    words = ["--memory", name, "--only", kind, "--texts", source]
    command = [sys.executable, "-W", "ignore", __file__, *words]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def compare(kind: str, source: str, repeats: int, trainers: Mapping[str, Trainer], *, own: bool) -> None:
    """One model on one kind of text."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for repeat in range(repeats + 1):
        for name, trainer in trainers.items():
            spent = trainer.epoch(f"draws {repeat}")
            if repeat:  # the first warms up
                seconds[name].append(spent)
    lengths = [len(ids) for ids in trainers["fused"].examples.tokens]
    print(
        f"\n{kind}, {source.rpartition('/')[2]}: {len(lengths)} texts, tokens {np.mean(lengths):.0f} on average, "
        f"{max(lengths)} at most; B and head, rank 8"
    )
    print(f"  fused, private ÷ plain                       {ratio(seconds['fused'], seconds['fused, plain'])}")
    if own:
        return
    print(f"  an epoch, private: fused ÷ PEFT and Opacus   {ratio(seconds['fused'], seconds['Opacus'])}")
    print(f"  an epoch, plain:   fused ÷ PEFT              {ratio(seconds['fused, plain'], seconds['PEFT, plain'])}")
    step = statistics.median(seconds["fused"]) / trainers["fused"].steps
    shares = ", ".join(f"{name} {spent / step:.1%}" for name, spent in small(trainers["fused"]).items())
    print(f"  of a step of {step:.2f} s: {shares}")
    after = {}
    for name in ("fused", "Opacus") if kind == "minilm" else ():
        trainers[name].epoch(steps=20)
        after[name] = {part: trainers[name].net.get(part) for part in PARTS}
    for part in PARTS if after else ():
        apart = np.linalg.norm(after["fused"][part] - after["Opacus"][part]) / np.linalg.norm(after["Opacus"][part])
        print(f"  {part} after 20 steps, same draws and noise: relative difference {apart:.1e}")
    memory = {name: peak(kind, source, name) for name in ("fused", "fused, plain", "PEFT, plain")}
    mega = f"({memory['fused']:.0f}, {memory['PEFT, plain']:.0f} MB)"
    print(f"  peak memory: fused ÷ PEFT, plain             {memory['fused'] / memory['PEFT, plain']:.2f}   {mega}")
    print(f"  peak memory: fused, private ÷ plain          {memory['fused'] / memory['fused, plain']:.2f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--texts", nargs="+", default=["demo"])
    parser.add_argument("--own", action="store_true", help="Bract's engine alone, with privacy and without")
    parser.add_argument("--memory", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in options.only:
            net = model_of(kind, scratch)
            for source in options.texts:
                examples = examples_of(source, kind)
                if options.memory:
                    trainer = Trainer(options.memory, net, examples, SIZES[kind][1])
                    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that loading had
                    before = status("VmRSS")
                    trainer.epoch(steps=2)
                    print(json.dumps((status("VmHWM") - before) / 1024))
                    return
                names = [name for name in KINDS if not options.own or "fused" in name]
                trainers = {name: Trainer(name, net, examples, SIZES[kind][1]) for name in names}
                compare(kind, source, options.repeats, trainers, own=options.own)


if __name__ == "__main__":
    main()
