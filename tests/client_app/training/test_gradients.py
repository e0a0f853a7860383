"""Batches without privacy; and DP-SGD as it is done: draws, clips, noise, and nothing that escapes them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from bract.adapter.initial import draw
from bract.batching import batch_of
from bract.errors import BractError
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from client_app.engine import fused, opacus
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.privacy.budget import Private
from client_app.privacy.clip import SAFE
from client_app.training.gradients import PrivateGradients, batches
from tests.client_app.nets import MECHANISM, clipped_sum, net_of, noisy_sum, require_gradients
from tests.harness import examples_of, fit


def one_at_a_time(net, shard, rows, parts, clip, inside=None):
    """The clipped sum by plain autograd, an example at a time, and how many were clipped."""
    parameters = [p for part in parts for p in net.parameters_of(part)]
    total, clipped = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64), 0
    net.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    for i in rows:
        ids, mask = batch_of([shard.tokens[i]], 0, net.device)
        loss = functional.cross_entropy(net(ids, mask), torch.tensor([shard.targets[i]]))
        flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)]).double()
        flat = flat if inside is None else flat * inside
        clipped += bool(flat.norm() > clip)
        total += flat * min(1.0, clip * SAFE / float(flat.norm().clamp_min(1e-30)))
    return total, clipped


def middle_clip(net, shard, rows, parts):
    """A clip that about half of the examples are longer than."""
    parameters = [p for part in parts for p in net.parameters_of(part)]
    return float(np.median([one_at_a_time(net, shard, [i], parts, 1e9)[0].norm() for i in rows])) if parameters else 1.0


def test_batches_pass_over_everything():
    rng = np.random.default_rng(0)
    two = list(batches(10, 4, 6, rng))
    assert [len(b) for b in two] == [4, 4, 2, 4, 4, 2]
    assert sorted(np.concatenate(two[:3]).tolist()) == list(range(10))
    assert len(list(batches(3, 16, 5, rng))) == 5
    assert two[0].tolist() != two[3].tolist()


ENGINES = pytest.mark.parametrize("engine", ["opacus", "fused"])


def in_microbatches_of(monkeypatch, count):
    """Draws are computed so few at a time."""
    monkeypatch.setattr(opacus, "PHYSICAL_BATCH", count)
    monkeypatch.setitem(fused.MAX_TOKENS, "cpu", 6 * count)


@ENGINES
@pytest.mark.parametrize("micro", [3, 32])
@pytest.mark.parametrize("parts", [("B",), ("A",), ("A", "B"), ("B", "head"), ("A", "B", "head")])
@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("bert", "native"), ("roberta", "native"), ("distilbert", "cls")]
)
def test_gradients_are_those_of_one_example_at_a_time(folders, shard, monkeypatch, kind, pooling, parts, micro, engine):
    """Every method's parts, heads, padding and micro-batches, about half of the examples clipped."""
    in_microbatches_of(monkeypatch, micro)
    net = net_of(folders[kind], pooling)
    rows = list(range(len(shard)))
    assert len({len(tokens) for tokens in shard.tokens}) > 3  # so there is padding
    clip = middle_clip(net, shard, rows, parts)
    wanted, clipped = one_at_a_time(net, shard, rows, parts, clip)
    assert len(rows) / 3 < clipped < 2 * len(rows) / 3
    found = clipped_sum(net, shard, rows, parts, replace(MECHANISM, clip=clip), engine=engine)
    # The forward passes' own rounding, which differs between processors: see below.
    assert float((found - wanted).norm() / wanted.norm()) < 4e-6
    plain, _ = one_at_a_time(net, shard, rows, parts, 1e9)
    assert float((found - plain).norm() / plain.norm()) > 1e-2  # the clip did something


@ENGINES
@pytest.mark.parametrize("parts", [("B",), ("A",), ("A", "B", "head")])
@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("bert", "mean"), ("roberta", "native"), ("distilbert", "cls"), ("llama", "native"), ("gpt2", "native")],
)
def test_gradients_are_exact_where_rounding_is_out_of_the_way(
    folders, shard, monkeypatch, kind, pooling, parts, engine
):
    """The same in float64: what differs in float32 is the rounding of other batch sizes, and nothing else."""
    in_microbatches_of(monkeypatch, 3)
    net = net_of(folders[kind], pooling).to(torch.float64)
    rows = list(range(len(shard)))
    clip = middle_clip(net, shard, rows, parts)
    wanted, clipped = one_at_a_time(net, shard, rows, parts, clip)
    assert len(rows) / 3 < clipped < 2 * len(rows) / 3
    found = clipped_sum(net, shard, rows, parts, replace(MECHANISM, clip=clip), engine=engine)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-12


@ENGINES
def test_slots_that_do_not_train_do_not_count_in_the_clip(folders, shard, engine):
    net = net_of(folders["bert"])
    slots = np.array([1, 4, 7])
    masks = [torch.zeros_like(p) for p in net.parameters_of("B")]
    for slot in slots:
        masks[slot // net.layout.rank][:, slot % net.layout.rank] = 1
    inside = torch.cat([mask.reshape(-1) for mask in masks]).double()
    clip = 0.5 * middle_clip(net, shard, range(len(shard)), ("B",))
    wanted, clipped = one_at_a_time(net, shard, range(len(shard)), ("B",), clip, inside)
    assert clipped
    found = clipped_sum(
        net, shard, range(len(shard)), ("B",), replace(MECHANISM, clip=clip), slots=slots, engine=engine
    )
    assert float((found - wanted).norm() / wanted.norm()) < 3e-6
    assert (found[inside == 0] == 0).all()


@ENGINES
def test_groups_are_clipped_for_themselves(folders, shard, engine):
    net = net_of(folders["bert"])
    parts, clip = ("A", "B", "head"), 0.01
    factors = net.layout.size("A") + net.layout.size("B")
    found = clipped_sum(net, shard, [3], parts, replace(MECHANISM, clip=clip), groups="head", engine=engine)
    assert float(found[:factors].norm()) == pytest.approx(clip / math.sqrt(2), rel=1e-4)
    assert float(found[factors:].norm()) == pytest.approx(clip / math.sqrt(2), rel=1e-4)
    assert float(found.norm()) <= clip


@ENGINES
@pytest.mark.parametrize("groups", ["all", "head"])
def test_one_example_more_moves_the_sum_by_at_most_the_clip(folders, shard, groups, engine):
    """And one that is replaced by at most twice that. Over all pairs of neighbours, clipped or not."""
    net = net_of(folders["bert"])
    parts, every = ("A", "B", "head"), list(range(len(shard)))
    for clip in (0.001, 0.5, 5.0):
        mechanism = replace(MECHANISM, clip=clip)
        whole = clipped_sum(net, shard, every, parts, mechanism, groups=groups, engine=engine)
        without = [
            clipped_sum(net, shard, every[:i] + every[i + 1 :], parts, mechanism, groups=groups, engine=engine)
            for i in every
        ]
        moved = [float((whole - other).norm()) for other in without]
        assert max(moved) <= clip * (1 + 1e-5)
        replaced = max(float((a - b).norm()) for a in without for b in without)
        assert replaced <= 2 * clip * (1 + 1e-5)


@ENGINES
def test_a_gradient_that_is_no_number_is_left_out(folders, shard, monkeypatch, engine):
    net = net_of(folders["bert"])
    parts = ("B", "head")
    wanted = clipped_sum(net, shard, [0, 2], parts, MECHANISM)
    monkeypatch.setitem(fused.PASS_COST, "cpu", 1000)  # all in one pass
    real = functional.cross_entropy

    def broken(*args, **kwargs):
        losses = real(*args, **kwargs)
        return losses * torch.tensor([1.0, float("nan"), 1.0]) if len(losses) == 3 else losses

    order = sorted([0, 1, 2], key=lambda i: len(shard.tokens[i]))
    monkeypatch.setattr(functional, "cross_entropy", broken)
    found = clipped_sum(net, shard, [0, 1, 2], parts, MECHANISM, engine=engine)
    kept = [i for at, i in enumerate(order) if at != 1]
    monkeypatch.setattr(functional, "cross_entropy", real)
    assert torch.allclose(found, clipped_sum(net, shard, kept, parts, MECHANISM), atol=1e-6)
    assert torch.isfinite(found).all()
    assert torch.isfinite(wanted).all()


@ENGINES
def test_an_empty_draw_releases_noise_alone(folders, shard, engine):
    net = net_of(folders["bert"])
    private = Private(replace(MECHANISM, sigma=2.0, clip=0.5), SecureNoise())
    found = noisy_sum(net, shard, [], ("B",), private, engine=engine)
    assert abs(float(found.std()) - 1.0) < 0.2
    assert float(found.abs().min()) > 0


def test_the_steps_noise_has_its_variance_and_is_normal(folders, shard):
    """Of one step, over many draws: every coordinate by itself and the sum over coordinates."""
    from scipy import stats

    net = net_of(folders["bert"])
    mechanism = replace(MECHANISM, sigma=1.5, clip=0.2)
    private = Private(mechanism, SecureNoise())
    steps = [noisy_sum(net, shard, [], ("B",), private) for _ in range(400)]
    draws = torch.stack(steps).numpy() / (mechanism.sigma * mechanism.clip)
    count = draws.size
    assert abs(draws.mean()) < 5 / math.sqrt(count)
    assert abs(draws.var() - 1) < 5 * math.sqrt(2 / count)
    each = draws.var(axis=0)  # of 400 draws a coordinate
    assert np.abs(each - 1).max() < 6 * math.sqrt(2 / 400)
    sums = draws.sum(axis=1) / math.sqrt(draws.shape[1])
    assert abs(sums.var() - 1) < 5 * math.sqrt(2 / 400)
    assert stats.kstest(draws.reshape(-1)[:50_000], "norm").pvalue > 1e-4
    assert stats.kstest(sums, "norm").pvalue > 1e-4
    correlation = np.corrcoef(draws[:, :20].T) - np.eye(20)
    assert np.abs(correlation).max() < 6 / math.sqrt(400)


def test_draws_are_poisson(folders, shard):
    net = net_of(folders["bert"])
    require_gradients(net, ("B",))
    flat = FlatBuffer(net, ("B",))
    engine = select_engine(TrainSettings(), net, flat, losses=CLASSIFICATION.losses, pad=0)
    gradients = PrivateGradients(engine, flat, replace(MECHANISM, rate=0.1), SecureNoise())
    fifty = shard.only(np.arange(50) % len(shard))
    drawn = list(gradients.draws(fifty, 4000))
    sizes = np.array([len(rows) for rows in drawn])
    assert sizes.min() == 0  # (0.9 ** 50 = 0.5 %)
    assert abs(sizes.mean() - 5.0) < 5 * math.sqrt(4.5 / 4000)
    assert abs(sizes.var() - 4.5) < 0.6  # binomial; shuffled batches would have none
    counts = np.bincount(np.concatenate(drawn), minlength=50)
    assert np.abs(counts / 4000 - 0.1).max() < 6 * math.sqrt(0.09 / 4000)


def test_what_cannot_be_clipped_is_not_trained(folders, shard):
    """A trainable value without a gradient for each example stops it before anything is updated."""
    net = net_of(folders["bert"], variant="vera", rank=8)
    before = net.get("B").copy()
    private = Private(replace(MECHANISM, sigma=1.0), SecureNoise())
    settings = TrainSettings(batch=4, steps=2)
    with pytest.raises(BractError, match="has no gradient for each example|cannot be"):
        fit(net, shard, settings, ("B",), pad=0, private=private)
    assert (net.get("B") == before).all()

    plain = net_of(folders["bert"])
    require_gradients(plain, ("B",))
    plain.parameters_of("A")[0].requires_grad_(True)  # somebody left it on
    flat = FlatBuffer(plain, ("B",))
    with pytest.raises(BractError, match="would be trained and not clipped"):
        PrivateGradients(
            select_engine(TrainSettings(), plain, flat, losses=CLASSIFICATION.losses, pad=0),
            flat,
            MECHANISM,
            SecureNoise(),
        )


@ENGINES
def test_a_layer_that_is_used_for_more_than_the_examples_is_refused(folders, shard, engine):
    """As in DeBERTa, whose query layer also projects relative positions: those gradients belong to no one example."""
    net = net_of(folders["bert"])
    layer = next(iter(net.layers.values()))
    real = net.model.forward

    def forward(*args, **kwargs):
        layer(torch.ones(1, 3, 32))
        return real(*args, **kwargs)

    net.model.forward = forward
    before = net.get("B").copy()
    private = Private(replace(MECHANISM, sigma=1.0, rate=1.0), SecureNoise())
    for batch in (1, 4):  # also where a draw happens to have as many rows
        shard_ = examples_of(["lost"] * batch, ["lost"] * batch, folders["bert"], 32)
        settings = TrainSettings(batch=1, steps=1, engine=engine)
        with pytest.raises(BractError, match="for more than each example's own states"):
            fit(net, shard_, settings, ("B",), pad=0, private=private)
    assert (net.get("B") == before).all()
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_slots_that_do_not_train_get_no_noise(folders, shard):
    net = net_of(folders["bert"])
    private = Private(replace(MECHANISM, sigma=3.0), SecureNoise())
    found = noisy_sum(net, shard, range(4), ("B",), private, slots=np.array([1, 4, 7]))
    width, rank = 32, net.layout.rank
    noisy = found.reshape(-1, width, rank).abs().sum(1).reshape(-1)  # by slot
    assert np.flatnonzero(noisy.numpy()).tolist() == [1, 4, 7]
    assert int((found != 0).sum()) == 3 * width


def test_noise_is_fresh_in_every_process():
    import subprocess
    import sys

    code = "import os\nfrom bract.privacy.noise import process_noise\nprint(process_noise().uniform(3).tolist())"
    command = [sys.executable, "-c", code]
    drawn = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(drawn) == 2


def test_the_model_is_as_it_was_after_private_training(folders, shard):
    """No hook stays: the same model trains without privacy, and again with it."""
    net = net_of(folders["bert"])
    private = Private(replace(MECHANISM, sigma=0.5), SecureNoise())
    settings = TrainSettings(batch=4, steps=3)
    for _ in range(2):
        fit(net, shard, settings, ("A", "B", "head"), pad=0, private=private)
    assert not any(m.training for m in net.modules())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    once = net_of(folders["bert"])
    for model in (net, once):
        for part, vector in draw(net.layout, 0, pooled=True).items():
            model.set(part, vector, net.layout)
        fit(model, shard, settings, ("B",), pad=0)
    assert (net.get("B") == once.get("B")).all()


def test_noise_in_the_product_is_not_squared_where_a_is_frozen():
    """FFA-LoRA's claim, against the formula: its noise grows as sigma, that of both factors as sigma squared."""
    from benchmarks.noise import change, expected
    from bract.adapter.layout import Layout, Module

    layout = Layout((Module("q", 256, 192), Module("v", 192, 256)), rank=8)
    rng, noise = np.random.default_rng(0), SecureNoise("7")
    before = {p: (0.02 * rng.normal(size=layout.size(p))).astype(np.float32) for p in ("A", "B")}
    lengths = {}
    for s in (0.01, 0.1, 1.0):
        moved = {p: (v + s * noise.normal(len(v))).astype(np.float32) for p, v in before.items()}
        for both in (False, True):
            after = moved if both else {**moved, "A": before["A"]}
            lengths[s, both] = change(layout, before, after)
            assert lengths[s, both] == pytest.approx(expected(layout, before, s, both=both), rel=0.05)
    assert lengths[1.0, False] == pytest.approx(100 * lengths[0.01, False], rel=0.05)
    assert lengths[1.0, True] > 1000 * lengths[0.01, True]
