"""The fused engine: the same numbers as Opacus and autograd, and an error where it could not give them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bract.batching import batch_of
from bract.errors import BractError
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples
from bract.tasks.tokens import logits
from client_app.engine import fused, memory
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.fused import FusedEngine
from client_app.privacy.budget import Private
from tests.client_app.nets import KINDS, MECHANISM, bert_like, clipped_sum, net_of, require_gradients, saved_in
from tests.harness import fit

SETTINGS = TrainSettings(batch=8, steps=20, lr=0.01)


def after_training(net, shard, parts, engine, *, private, slots=None, settings=SETTINGS):
    """The parts after some steps from the same start, with the same draws and noise."""
    start = {part: net.get(part) for part in parts}
    how = Private(replace(MECHANISM, sigma=0.5), SecureNoise("same")) if private else None
    fit(net, shard, replace(settings, engine=engine), parts, pad=0, slots=slots, private=how)
    found = {part: net.get(part) for part in parts}
    for part, vector in start.items():
        net.set(part, vector, net.layout)
    return found, start


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("parts", "slots"),
    [
        (("B",), None),
        (("A",), None),
        (("A", "B"), None),
        (("B", "head"), None),
        (("A", "head"), None),
        (("A", "B", "head"), None),
        (("head",), None),
        (("B",), [1, 4, 7]),
        (("A", "head"), [1, 4, 7]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_factors_after_twenty_steps_are_those_of_opacus(folders, shard, kind, parts, slots, private):
    """Every method's parts, with masks and head. Plain steps of SGD: Adam would divide rounding by rounding."""
    if kind in ("llama", "gpt2") and "head" not in parts:
        return  # the same layers, seen with the head
    net = net_of(folders[kind], "mean" if kind == "bert" else "native")
    settings = replace(SETTINGS, optimizer="sgd", lr=0.02, lr_ratio=1.0)
    selected = None if slots is None else np.array([slot for slot in slots if slot < net.layout.slots])
    found, start = after_training(net, shard, parts, "fused", private=private, slots=selected, settings=settings)
    wanted, _ = after_training(net, shard, parts, "opacus", private=private, slots=selected, settings=settings)
    for part in parts:
        moved = np.linalg.norm(wanted[part] - start[part])
        apart = np.linalg.norm(found[part] - wanted[part])
        assert apart < 1e-5 * np.linalg.norm(wanted[part])
        assert apart < 1e-2 * moved


def test_optimizer_s_own_default_agrees_too(folders, shard):
    net = net_of(folders["bert"])
    found, _ = after_training(net, shard, ("A", "B", "head"), "fused", private=True)
    wanted, _ = after_training(net, shard, ("A", "B", "head"), "opacus", private=True)
    for part, vector in wanted.items():
        assert np.linalg.norm(found[part] - vector) < 1e-5 * np.linalg.norm(vector)


def test_plain_gradients_need_no_row_for_each_example(folders, shard):
    net = net_of(folders["bert"])
    flat = FlatBuffer(net, ("A", "B", "head"))
    with select_engine(TrainSettings(engine="fused"), net, flat, losses=CLASSIFICATION.losses, pad=0) as engine:
        assert isinstance(engine, FusedEngine)
        total = flat.zeros()
        engine.start()
        engine.add(shard, np.arange(6), total, None)
        assert engine._gradients._buffer.numel() == 0
    assert float(total.norm()) > 0
    assert not total.requires_grad


def test_the_model_is_given_back_also_after_an_error(folders, shard):
    net = net_of(folders["bert"], "cls")
    flat = FlatBuffer(net, ("B", "head"))
    with pytest.raises(MemoryError), select_engine(TrainSettings(), net, flat, losses=CLASSIFICATION.losses, pad=0):  # noqa: PT012  # the error is ours
        assert any("forward" in vars(module) for module in net.modules())
        raise MemoryError
    assert not any("forward" in vars(module) for module in net.modules())


def test_a_trained_value_that_the_model_uses_by_itself_stops_it(folders, shard):
    """Its gradient would come by a way that the engine does not see, so nothing is updated."""
    net = net_of(folders["bert"])
    real = net.forward
    net.forward = lambda ids, mask: real(ids, mask) + net.linear.weight.sum()
    before = net.get("head")
    with pytest.raises(BractError, match="in a way of its own"):
        clipped_sum(net, shard, [0, 1], ("B", "head"), MECHANISM, engine="fused")
    assert (net.get("head") == before).all()


def test_a_pass_stays_within_its_memory(folders, shard, monkeypatch):
    net = net_of(folders["bert"])
    wanted = clipped_sum(net, shard, range(len(shard)), ("B",), MECHANISM)
    require_gradients(net, ("B",))
    flat = FlatBuffer(net, ("B",))
    with select_engine(TrainSettings(), net, flat, losses=CLASSIFICATION.losses, pad=0) as engine:
        assert len(engine.split(shard, np.arange(len(shard)), clipped=True)) < 4
    a_token = memory.bytes_per_token(lambda n: net(torch.ones(1, n, dtype=torch.long), torch.ones(1, n)), 32)
    assert 10 * 32 * 4 < a_token < 100 * 32 * 4  # two layers of some ten values as wide as the model
    monkeypatch.setattr(memory, "CPU_BUDGET", int(40 * a_token))
    with select_engine(TrainSettings(), net, flat, losses=CLASSIFICATION.losses, pad=0) as engine:
        groups = engine.split(shard, np.arange(len(shard)), clipped=True)
    assert len(groups) > 4
    assert sorted(np.concatenate(groups)) == list(range(len(shard)))
    assert max(len(rows) * max(len(shard.tokens[i]) for i in rows) for rows in groups if len(rows) > 1) <= 20
    found = clipped_sum(net, shard, range(len(shard)), ("B",), MECHANISM)
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("private", [True, False])
def test_head_alone_needs_nothing_of_the_encoder_on_the_way_back(folders, shard, private):
    net = net_of(folders["bert"])
    require_gradients(net, ("head",))
    flat = FlatBuffer(net, ("head",))
    with select_engine(TrainSettings(engine="fused"), net, flat, losses=CLASSIFICATION.losses, pad=0):
        assert not net.pooled(*batch_of(shard.tokens[:2], 0, net.device)).requires_grad


def test_a_model_that_changes_an_output_in_place_is_trained(tmp_path, shard):
    from transformers import LongformerConfig, LongformerForSequenceClassification

    config = LongformerConfig(**bert_like(attention_window=8, sep_token_id=3))
    net = net_of(saved_in(tmp_path, LongformerForSequenceClassification(config)), "native")
    found, _ = after_training(net, shard, ("B",), "auto", private=False)
    wanted, start = after_training(net, shard, ("B",), "opacus", private=False)
    assert np.linalg.norm(found["B"] - wanted["B"]) < 1e-2 * np.linalg.norm(wanted["B"] - start["B"])


def test_a_fault_while_patching_gives_the_model_back(folders, monkeypatch):
    net = net_of(folders["bert"])
    monkeypatch.setattr(fused, "last_layer", lambda model: 1 / 0)
    with (
        pytest.raises(ZeroDivisionError),
        select_engine(TrainSettings(), net, FlatBuffer(net, ("B",)), losses=CLASSIFICATION.losses, pad=0),
    ):
        pass
    assert not any("forward" in vars(module) for module in net.modules())


def test_an_empty_text_is_computed(folders, shard):
    """A tokenizer without marks of its own makes no token of it."""
    empty = Examples([*shard.tokens[:3], np.zeros(0, np.int32)], shard.targets[:4])
    net = net_of(folders["bert"])
    assert np.isfinite(logits(net, empty.tokens)).all()
    assert torch.isfinite(clipped_sum(net, empty, range(4), ("B",), MECHANISM)).all()
