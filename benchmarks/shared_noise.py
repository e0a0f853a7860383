"""What does one step a round under shared noise learn? The demo, over settings of the server's optimizer.

In one process, by the engine, the clip, the noise and the accountant as they are, but without messages and masks: in
each round every client draws a Poisson sample at one public rate and sums its clipped gradients of B; their sum gets
what the clients' shares of noise come to (n / h times the variance that the accountant asks for, h honest of n); the
server divides by the public number of examples and steps. All clients' draws are computed together, which changes
nothing but the order of a sum. Options that take several values are combined, a line each. Draws and noise are made of
the seed, so that settings are compared on the same ones.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bract.adapter.layout import Layout, Vector
from bract.batching import batch_of
from bract.models.lora_model import LoraModel, shape
from bract.privacy.accounting import noise_for
from bract.privacy.noise import SecureNoise
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples, Tokens
from bract.tasks.tokens import pad_id, tokenise
from client_app.data import cache
from client_app.engine.auto_engine import select_engine
from client_app.engine.engine import Engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.privacy.clip import Clip

CLIENTS, NOMINAL, DELTA = 10, 384, 1e-5  # NOMINAL: examples of a client, as far as their number is public
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """One run."""

    seed: int
    epsilon: float  # 0: no noise
    rounds: int
    rate: float
    honest: int
    optimizer: str
    lr: float
    momentum: float
    second: float  # adam's second momentum
    clip: float
    warmup: float
    decay: float
    power: float
    a: str
    targets: str
    rank: int

    @property
    def sigma(self) -> float:
        """The noise multiplier that the accountant asks for."""
        return noise_for(self.epsilon, DELTA, self.rate, self.rounds) if self.epsilon else 0.0

    def lr_in(self, number: int) -> float:
        """The server's rate in a round, the first of which is 0: up over `warmup` of the run, down over `decay`."""
        done, left = (number + 1) / self.rounds, 1 - number / self.rounds
        up = min(1.0, done / self.warmup) if self.warmup else 1.0
        down = min(1.0, left / self.decay) ** self.power if self.decay else 1.0
        return self.lr * up * down


@dataclass(frozen=True)
class Demo:
    """What does not change between the rounds of a seed."""

    net: LoraModel
    settings: Settings
    train: Examples  # all clients' one behind the other
    sizes: tuple[int, ...]
    held: Examples
    pad: int


@lru_cache(maxsize=1)
def demo(seed: int, rank: int, targets: str, a: str, precision: str) -> Demo:
    """The demo at its first values."""
    lora = {"lora.rank": rank, "lora.targets": targets}
    settings = read({"seed": seed, "train.precision": precision, "privacy.unit": "none", **lora})
    table, outputs = cache.dataset(settings.data, seed, CLASSIFICATION.name)
    form = shape(settings, outputs.size, CLASSIFICATION.auto_class)
    net = cache.model(form)
    for part, vector in cache.first_parts(form, outputs.descriptions, settings.data.max_length).items():
        net.set(part, vector, net.layout)
    names = tokenise(outputs.descriptions, form.place, settings.data.max_length)
    net.set("A", frozen(net, net.get("A"), a, [ids.tolist() for ids in names], pad_id(form.place)), net.layout)
    split = cache.partition(settings.data, seed, CLASSIFICATION.name, CLIENTS)
    shards = [split.shard(i) for i in range(CLIENTS)]

    def of(rows: list[NDArray[np.int64]]) -> Examples:
        return CLASSIFICATION.examples(table, np.concatenate(rows), outputs, form.place, settings.data.max_length)

    sizes = tuple(len(s.train) for s in shards)
    return Demo(
        net, settings, of([s.train for s in shards]), sizes, of([s.holdout for s in shards]), pad_id(form.place)
    )


def orthonormal(rows: Numbers) -> Numbers:
    """The nearest matrix with orthogonal rows, each as long as drawn rows are on average."""
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    found: Numbers = left @ right * np.sqrt(np.mean(np.sum(rows**2, 1)))
    return found


def centred(rows: Numbers, states: Numbers) -> Numbers:
    """Rows that the mean of a layer's states is orthogonal to, as long as they were."""
    mean = states.mean(0) / np.linalg.norm(states.mean(0))
    found = rows - np.outer(rows @ mean, mean)
    scaled: Numbers = found * (np.linalg.norm(rows, axis=1) / np.linalg.norm(found, axis=1))[:, None]
    return scaled


def whitened(rows: Numbers, states: Numbers) -> Numbers:
    """Rows of which a layer's states get about as much each in every direction, as long as they were on average."""
    values, vectors = np.linalg.eigh(states.T @ states / len(states))
    floor = 3 * float(np.median(values)) + 1e-6
    found = rows @ (vectors / np.sqrt(values + floor)) @ vectors.T
    scaled: Numbers = found * np.sqrt(np.sum(rows**2) / np.sum(found**2))
    return scaled


@torch.no_grad()
def states_of(net: LoraModel, tokens: Tokens, pad: int) -> list[Numbers]:
    """What each adapted layer gets of these texts' tokens."""
    found: list[Numbers] = []
    ids, mask = batch_of([list(one) for one in tokens], pad, net.device)
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: found.append(args[0][mask.bool()].double().numpy()))
        for layer in net.layers.values()
    ]
    net(ids, mask)
    for hook in hooks:
        hook.remove()
    return found


def frozen(net: LoraModel, drawn: Vector, a: str, texts: Tokens, pad: int) -> Vector:
    """The frozen factor: as drawn, or made of that and of public texts."""
    if a == "drawn":
        return drawn
    matrices = [rows.astype(np.float64) for rows in net.layout.matrices("A", drawn)]
    if a == "orthonormal":
        made = [orthonormal(rows) for rows in matrices]
    else:
        change = centred if a == "centred" else whitened
        made = [change(*pair) for pair in zip(matrices, states_of(net, texts, pad), strict=True)]
    return np.concatenate([rows.reshape(-1) for rows in made]).astype(np.float32)


class Server:
    """Steps on noisy means: `step` gives what is added to B for a rate of one.

    `modules`: momentum, divided by one root mean square for each module, of what is left of it without the noise.
    """

    def __init__(self, config: Config, layout: Layout) -> None:
        self._config, self._layout = config, layout
        self._first = np.zeros(layout.size("B"))
        self._second = np.zeros(layout.size("B"))
        self._rounds = 0

    def step(self, mean: Numbers, deviation: float) -> Numbers:
        """From the noisy mean of this round, whose noise has this deviation."""
        c = self._config
        self._rounds += 1
        if c.optimizer == "sgd":
            return -mean
        self._first = c.momentum * self._first + (1 - c.momentum) * mean
        first = self._first / (1 - c.momentum**self._rounds)
        if c.optimizer == "momentum":
            return -first
        if c.optimizer == "nesterov":
            ahead = c.momentum * self._first + (1 - c.momentum) * mean
            return -ahead / (1 - c.momentum ** (self._rounds + 1))
        self._second = c.second * self._second + (1 - c.second) * mean**2
        second = self._second / (1 - c.second**self._rounds)
        if c.optimizer == "adam":
            return -first / (np.sqrt(second) + 1e-8)
        spans = self._layout.matrices("B", second.astype(np.float32))
        signal = [max(float(s.mean()) - deviation**2, 0.05 * float(s.mean())) for s in spans]
        lengths = np.sqrt(np.repeat(signal, [s.size for s in spans]))
        step: Numbers = -first / lengths * np.sqrt(np.mean(lengths**2))
        return step


def gradient_sum(
    engine: Engine, flat: FlatBuffer, examples: Examples, rows: NDArray[np.int64], clip: Clip
) -> tuple[Numbers, float]:
    """Of clipped gradients, and of losses."""
    total, loss = flat.zeros(), 0.0
    engine.start()
    for some in engine.split(examples, rows, clipped=True):
        loss += float(engine.add(examples, some, total, clip.scales))
    return total.double().numpy(), loss


def draw(noise: SecureNoise, sizes: Sequence[int], rate: float) -> NDArray[np.int64]:
    """Each client's own, as rows of all clients' examples."""
    starts = np.cumsum([0, *sizes])
    return np.concatenate([start + noise.poisson_sample(n, rate) for start, n in zip(starts, sizes, strict=False)])


class Counting:
    """The task's losses; while `measuring`, how many examples are right is counted in place of them."""

    def __init__(self) -> None:
        self.measuring, self.right = False, 0

    def __call__(self, model: LoraModel, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """As the engine asks for them."""
        if not self.measuring:
            losses: Tensor = CLASSIFICATION.losses(model, ids, mask, targets)
            return losses
        with torch.no_grad():
            self.right += int((model(ids, mask).argmax(-1) == targets).sum())
        return torch.zeros(len(targets), requires_grad=True)


def accuracy(engine: Engine, counting: Counting, here: Demo, flat: FlatBuffer, values: Numbers) -> float:
    """On all held-out texts, by the engine's products, which are the faster ones."""
    flat.load(torch.from_numpy(values).float())
    counting.measuring, counting.right = True, 0
    engine.start()
    for some in engine.split(here.held, np.arange(len(here.held)), clipped=False):
        engine.add(here.held, some, flat.zeros(), None)
    counting.measuring = False
    return counting.right / len(here.held)


def run(config: Config, options: argparse.Namespace) -> None:
    """Train, and print one line; lines on the way too, if asked."""
    start, work = time.perf_counter(), time.process_time()
    torch.set_num_threads(options.threads)
    here = demo(config.seed, config.rank, config.targets, config.a, options.precision)
    here.net.requires_grad_(False)
    flat = FlatBuffer(here.net, ("B",))
    for view in flat.views:
        view.parameter.requires_grad_(True)
    counting = Counting()
    with select_engine(here.settings.train, here.net, flat, losses=counting, pad=here.pad) as engine:
        kept = list(trained(engine, counting, here, flat, config, options))[-max(options.average) :]
        found = [accuracy(engine, counting, here, flat, np.mean(kept[-count:], axis=0)) for count in options.average]
    flat.load(flat.zeros())
    here.net.requires_grad_(False)
    words = " ".join(f"{f.name} {getattr(config, f.name):g}" for f in fields(config) if f.type in (int, float))
    thinned = f" THINNED {options.thin}" if options.thin > 1 else ""
    spent, worked = time.perf_counter() - start, time.process_time() - work
    print(
        f"accuracy {' '.join(f'{value:.4f}' for value in found)} | {config.optimizer} {config.a} {config.targets} "
        f"{words}"
        f"{thinned} | sigma {config.sigma:.4f}, {4 * flat.size * config.rounds:,} bytes up a client"
        f" | {spent:.0f} s, {worked:.0f} s of a core",
        flush=True,
    )


def trained(
    engine: Engine, counting: Counting, here: Demo, flat: FlatBuffer, config: Config, options: argparse.Namespace
) -> Iterator[Numbers]:
    """B after every round."""
    draws, noise = (SecureNoise(f"{what} {config.seed}") for what in ("draws", "noise"))
    server, clip = Server(config, here.net.layout), Clip(config.clip)
    thin, divisor = options.thin, config.rate * NOMINAL * CLIENTS
    deviation = config.sigma * config.clip * np.sqrt(CLIENTS / config.honest)
    values = np.zeros(flat.size)
    for number in range(config.rounds):
        flat.load(torch.from_numpy(values).float())
        rows = draw(draws, here.sizes, config.rate / thin)
        total, loss = gradient_sum(engine, flat, here.train, rows, clip)
        mean = (total * thin + noise.normal(flat.size) * deviation) / divisor
        values = values + config.lr_in(number) * here.settings.train.lr_ratio * server.step(mean, deviation / divisor)
        yield values
        if options.every and (number + 1) % options.every == 0 and number + 1 < config.rounds:
            signal, hidden = np.linalg.norm(total) * thin / divisor, deviation / divisor * np.sqrt(flat.size)
            print(
                f"  {number + 1:3}: {accuracy(engine, counting, here, flat, values):.4f}"
                f"  loss {loss / max(len(rows), 1):.3f}"
                f"  |mean| {signal:.3f}  |its noise| {hidden:.3f}",
                flush=True,
            )


def configs(options: argparse.Namespace) -> Iterator[Config]:
    """Every combination, seed by seed."""
    names = [f.name for f in fields(Config)]
    for values in itertools.product(*(getattr(options, name) for name in names)):
        yield Config(**dict(zip(names, values, strict=True)))


def main() -> None:
    """Run every combination."""
    parser = argparse.ArgumentParser(description=__doc__)

    def several(name: str, kind: Callable[[str], Any], default: Any, words: str, **more: Any) -> None:
        parser.add_argument(f"--{name}", type=kind, nargs="+", default=[default], help=f"{words} ({default})", **more)

    several("seed", int, 0, "of the demo, A, draws and noise")
    several("epsilon", float, 3.0, "of the whole run at delta 1e-5; 0: no noise")
    several("rounds", int, 25, "one step each")
    several("rate", _ratio, 1 / 6, "at which each example is drawn, as 0.1667 or 1/6")
    several("honest", int, CLIENTS, "clients whose shares of noise count")
    several("optimizer", str, "momentum", "the server's", choices=["momentum", "nesterov", "sgd", "adam", "modules"])
    several("lr", float, 2.4, "the server's; B's is five times it")
    several("momentum", float, 0.9, "with bias correction")
    several("second", float, 0.99, "momentum of squares")
    several("clip", float, 1.0, "of an example's gradient")
    several("warmup", float, 0.0, "share of the rounds over which the rate rises")
    several("decay", float, 0.0, "share of the rounds over which it falls to zero")
    several("power", float, 1.0, "of the fall")
    several("a", str, "drawn", "the frozen factor", choices=["drawn", "orthonormal", "centred", "whitened"])
    several("targets", str, "attention", "lora.targets")
    several("rank", int, 8, "of the adapter")
    several("average", int, 1, "accuracies of the mean of so many of the last models")
    parser.add_argument("--every", type=int, default=0, help="rounds between lines on the way; 0: none")
    parser.add_argument("--thin", type=int, default=1, help="5: a fifth of each draw, times five: quicker, for tuning")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of frozen products")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for config in configs(options):
        run(config, options)


def _ratio(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


if __name__ == "__main__":
    main()
