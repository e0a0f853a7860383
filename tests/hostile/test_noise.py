"""The low bits of a released step must not tell which texts were drawn.

The attacker is a server that knows every text and asks for one step of SGD at B = 0, with a learning rate and a batch
that are powers of two: what it receives is the noisy mean, to the last bit. It knows the float32 arithmetic, so for
each possible draw it knows the sum to the last bit, too. If the noise was made of float32 numbers, the difference from
the right sum is such a number in every coordinate. From a wrong sum it often is not where the noise cancels most of the
sum, as the result then has finer steps than the noise.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.privacy.budget import Private
from client_app.privacy.clip import Clip
from tests.client_app.nets import MECHANISM, net_of, require_gradients
from tests.harness import TEXTS, examples_of, fit, tiny_model

KNOWN = 8  # texts, so that there are 2 ** 8 draws, all as likely
SETTINGS = TrainSettings(batch=4, steps=1, lr=1.0, lr_ratio=1.0, optimizer="sgd", engine="fused")
STEP = replace(MECHANISM, clip=1.0, sigma=1.3, rate=0.5, batch=4, steps=1, rounds=1)
ROUNDS = 25


class Watched(SecureNoise):
    """Noise that tells the test, and nobody else, which draw was made."""

    def poisson_sample(self, count, rate):
        self.drawn = super().poisson_sample(count, rate)
        return self.drawn


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The model, the texts and, for every draw of them, the sum of their clipped gradients as it is computed."""
    folder = str(tiny_model(tmp_path_factory.mktemp("model")))
    net = net_of(folder, rank=16)
    net.set("B", np.zeros(net.layout.size("B"), dtype=np.float32), net.layout)
    pairs = [(text, label) for label, texts in TEXTS.items() for text in texts[:2]][:KNOWN]
    shard = examples_of([text for text, _ in pairs], [label for _, label in pairs], folder, 32)
    draws = [np.flatnonzero([(number >> i) & 1 for i in range(KNOWN)]) for number in range(2**KNOWN)]
    require_gradients(net, ("B",))
    flat, sums = FlatBuffer(net, ("B",)), []
    with select_engine(SETTINGS, net, flat, losses=CLASSIFICATION.losses, pad=0) as engine:
        for rows in draws:
            total, clip = flat.zeros(), Clip(STEP.clip)
            engine.start()
            for some in engine.split(shard, rows, clipped=True):
                engine.add(shard, some, total, clip.scales)
            sums.append(total.numpy().copy())
    return net, shard, draws, np.array(sums)


def cast_first(total, normal, mechanism):
    """The old way: standard normal numbers are float32 before they are scaled and added."""
    noise = torch.from_numpy(normal).to(torch.float32) * mechanism.deviation
    return ((torch.from_numpy(total) + noise) / mechanism.batch).numpy()


def guessed(released, sums, mechanism):
    """The draw whose sum leaves, in the most coordinates, noise that a float32 normal number could have made."""
    result = released * np.float32(mechanism.batch)  # a power of two: no bit is lost
    normal = ((result.astype(np.float64) - sums) / mechanism.deviation).astype(np.float32)
    possible = np.zeros(sums.shape, dtype=bool)
    for candidate in (normal, np.nextafter(normal, np.float32(-9)), np.nextafter(normal, np.float32(9))):
        possible |= sums + candidate * np.float32(mechanism.deviation) == result
    return int(possible.sum(1).argmax())


def test_noise_that_is_cast_before_it_is_added_tells_the_draw(known):
    """The attack works where the noise is float32: it is no straw man."""
    _, _, draws, sums = known
    noise, hits = SecureNoise(), 0
    for _ in range(ROUNDS):
        number = int(noise.uniform(1)[0] * len(draws))
        released = cast_first(sums[number], noise.normal(sums.shape[1]), STEP)
        hits += guessed(released, sums, STEP) == number
    assert hits >= 0.9 * ROUNDS


def test_the_released_step_does_not_tell_the_draw(known):
    net, shard, draws, sums = known
    hits = 0
    for _ in range(ROUNDS):
        net.set("B", np.zeros(net.layout.size("B"), dtype=np.float32), net.layout)
        noise = Watched()
        fit(net, shard, SETTINGS, ("B",), private=Private(STEP, noise))
        released = -net.get("B")
        hits += draws[guessed(released, sums, STEP)].tolist() == noise.drawn.tolist()
    assert hits <= 4  # of 25 by chance: less than 1 in 10 million at one in 256 each


def test_what_the_attacker_computes_is_what_is_released(known):
    """Without noise, the step is the draw's sum over the batch, bit by bit: no other rounding hides anything."""
    net, shard, draws, sums = known
    for _ in range(5):
        net.set("B", np.zeros(net.layout.size("B"), dtype=np.float32), net.layout)
        noise = Watched()
        fit(net, shard, SETTINGS, ("B",), private=Private(replace(STEP, sigma=0.0), noise))
        number = next(i for i, rows in enumerate(draws) if rows.tolist() == noise.drawn.tolist())
        assert (-net.get("B") == sums[number] / np.float32(STEP.batch)).all()
