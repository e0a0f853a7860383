"""The fused engine: the same numbers as Opacus and autograd, and a refusal where it could not give them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from bract.errors import BractError
from bract.models.lora_model import batch_of
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import logits, losses
from bract.tasks.task import Examples
from client_app.engine import fused, kernels, memory, prefix_cache
from client_app.engine import select_engine as pick_module
from client_app.engine.flat_buffer import Flat
from client_app.engine.fused import FusedEngine
from client_app.engine.independence import require_independent
from client_app.engine.last_layer import last_layer
from client_app.engine.opacus import OpacusEngine
from client_app.engine.prefix_cache import frozen_layers
from client_app.engine.select_engine import pick
from client_app.engine.supported import refusal
from client_app.privacy.private import Private
from tests.client_app.training.test_private_gradients import KINDS, MECHANISM, filled, net_of, summed, trained
from tests.client_app.training.test_private_gradients import folders as folders  # fixtures
from tests.client_app.training.test_private_gradients import shard as shard
from tests.harness import fit, tiny_model

PROBES = 2  # texts that pass through a model, once, to find what a token takes
SETTINGS = TrainSettings(batch=8, steps=20, lr=0.01)


def after_training(net, shard, parts, engine, *, private, slots=None, settings=SETTINGS):
    """The parts after some steps from the same start, with the same draws and noise."""
    start = {part: net.get(part) for part in parts}
    how = Private(replace(MECHANISM, sigma=0.5), SecureNoise("same")) if private else None
    fit(
        net, shard, replace(settings, engine=engine), parts, pad=0, slots=slots,
        private=how,
    )  # fmt: skip
    found = {part: net.get(part) for part in parts}
    for part, vector in start.items():
        net.set(part, vector, net.layout)
    return found, start


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("parts", "slots"),
    [
        (("B",), None), (("A",), None), (("A", "B"), None), (("B", "head"), None), (("A", "head"), None),
        (("A", "B", "head"), None), (("head",), None), (("B",), [1, 4, 7]), (("A", "head"), [1, 4, 7]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_factors_after_twenty_steps_are_those_of_opacus(folders, shard, kind, parts, slots, private):
    """Every method's parts, with masks and head. Plain steps of SGD: Adam would divide rounding by rounding."""
    if kind in ("llama", "gpt2") and "head" not in parts:
        return  # the same layers, seen with the head
    net = net_of(folders[kind], "mean" if kind == "bert" else "native")
    settings = replace(SETTINGS, optimizer="sgd", lr=0.02, lr_ratio=1.0)
    chosen = None if slots is None else np.array([slot for slot in slots if slot < net.layout.slots])
    found, start = after_training(net, shard, parts, "fused", private=private, slots=chosen, settings=settings)
    wanted, _ = after_training(net, shard, parts, "opacus", private=private, slots=chosen, settings=settings)
    for part in parts:
        moved = np.linalg.norm(wanted[part] - start[part])
        apart = np.linalg.norm(found[part] - wanted[part])
        assert apart < 1e-5 * np.linalg.norm(wanted[part])
        assert apart < 1e-2 * moved


def test_optimiser_s_own_default_agrees_too(folders, shard):
    net = net_of(folders["bert"])
    found, _ = after_training(net, shard, ("A", "B", "head"), "fused", private=True)
    wanted, _ = after_training(net, shard, ("A", "B", "head"), "opacus", private=True)
    for part, vector in wanted.items():
        assert np.linalg.norm(found[part] - vector) < 1e-5 * np.linalg.norm(vector)


def test_plain_gradients_need_no_row_for_each_example(folders, shard):
    net = net_of(folders["bert"])
    flat = Flat(net, ("A", "B", "head"))
    with pick(TrainSettings(engine="fused"), net, flat, losses=losses, pad=0) as engine:
        assert isinstance(engine, FusedEngine)
        total = flat.zeros()
        engine.start()
        engine.add(shard, np.arange(6), total, None)
        assert engine._buffer.numel() == 0
    assert float(total.norm()) > 0
    assert not total.requires_grad


def test_the_model_is_given_back_also_after_an_error(folders, shard):
    net = net_of(folders["bert"], "cls")
    flat = Flat(net, ("B", "head"))
    with pytest.raises(MemoryError), pick(TrainSettings(), net, flat, losses=losses, pad=0):  # noqa: PT012  # the error is ours
        assert any("forward" in vars(module) for module in net.modules())
        raise MemoryError
    assert not any("forward" in vars(module) for module in net.modules())


@pytest.mark.parametrize(("kind", "pooling", "known"), [
    ("bert", "mean", False), ("bert", "cls", True), ("bert", "native", True), ("roberta", "native", True),
    ("distilbert", "cls", False), ("llama", "native", False),
])  # fmt: skip
def test_the_last_layer_computes_what_the_head_reads(folders, shard, kind, pooling, known):
    """Where it is known to read the first position alone; that the gradients are right is tested for all of them."""
    net = net_of(folders[kind], pooling)
    assert (last_layer(net) is not None) == known
    if not known:
        return
    seen = []
    layer = last_layer(net)
    layer.intermediate.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    summed(net, shard, [0, 1, 2], ("B",), MECHANISM, engine="fused")
    summed(net, shard, [0, 1, 2], ("B",), MECHANISM, engine="opacus")
    lengths = {len(shard.tokens[i]) for i in range(3)}
    assert 1 in seen
    assert set(seen) <= {1} | lengths  # Opacus's way computes them all


def test_vera_and_other_adapters_are_left_to_autograd(folders, shard, caplog):
    net = net_of(folders["bert"], variant="vera", rank=8)
    flat = Flat(net, ("B",))
    assert "not by one plain LoRA" in refusal(net, flat)
    pick_module._tell.cache_clear()
    with caplog.at_level(logging.INFO):
        assert isinstance(pick(TrainSettings(), net, flat, losses=losses, pad=0), OpacusEngine)
    assert "training by Opacus and autograd: encoder.layer.0.attention.self.query is adapted by" in caplog.text
    with pytest.raises(BractError, match="train.engine = 'fused' cannot train this exactly"):
        pick(TrainSettings(engine="fused"), net, flat, losses=losses, pad=0)


@pytest.mark.parametrize("more", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}])
def test_what_is_more_than_two_factors_is_refused(folders, more):
    net = net_of(folders["bert"])
    base = net.model.unload()
    names = list(net.layers)
    net.model = get_peft_model(base, LoraConfig(r=2, target_modules=names, **more))
    net.layers = {n: m for n, m in net.model.get_base_model().named_modules() if n in names}
    assert "more than two factors" in refusal(net, Flat(net, ("B",)))


def test_a_trained_value_that_two_modules_share_is_refused(folders):
    net = net_of(folders["bert"])
    assert refusal(net, Flat(net, ("B", "head"))) is None
    net.tied = torch.nn.Linear(32, 4)
    net.tied.weight = net.linear.weight
    assert "shared by two modules" in refusal(net, Flat(net, ("B", "head")))


def test_a_trained_value_that_the_model_uses_by_itself_stops_it(folders, shard):
    """Its gradient would come by a way that the engine does not see, so nothing is updated."""
    net = net_of(folders["bert"])
    real = net.forward
    net.forward = lambda ids, mask: real(ids, mask) + net.linear.weight.sum()
    before = net.get("head")
    with pytest.raises(BractError, match="in a way of its own"):
        filled(net, shard, [0, 1], ("B", "head"), MECHANISM, engine="fused")
    assert (net.get("head") == before).all()


def test_a_pass_stays_within_its_memory(folders, shard, monkeypatch):
    net = net_of(folders["bert"])
    wanted = summed(net, shard, range(len(shard)), ("B",), MECHANISM)
    trained(net, ("B",))
    flat = Flat(net, ("B",))
    with pick(TrainSettings(), net, flat, losses=losses, pad=0) as engine:
        assert len(engine.split(shard, np.arange(len(shard)), clipped=True)) < 4
    a_token = memory.bytes_a_token(lambda n: net(torch.ones(1, n, dtype=torch.long), torch.ones(1, n)), 32)
    assert 10 * 32 * 4 < a_token < 100 * 32 * 4  # two layers of some ten values as wide as the model
    monkeypatch.setattr(memory, "CPU", int(40 * a_token))
    with pick(TrainSettings(), net, flat, losses=losses, pad=0) as engine:
        pieces = engine.split(shard, np.arange(len(shard)), clipped=True)
    assert len(pieces) > 4
    assert sorted(np.concatenate(pieces)) == list(range(len(shard)))
    assert max(len(rows) * max(len(shard.tokens[i]) for i in rows) for rows in pieces if len(rows) > 1) <= 20
    found = summed(net, shard, range(len(shard)), ("B",), MECHANISM)
    assert torch.allclose(found, wanted, atol=1e-6)


def onednn():
    try:
        kernels._onednn(torch.ones(1, 1), torch.ones(1, 1), None)
    except (AttributeError, RuntimeError):
        return False
    return True


@pytest.mark.skipif(not onednn(), reason="this torch has no oneDNN product")
@pytest.mark.parametrize("parts", [("B",), ("A", "B", "head")])
def test_other_kernels_give_the_same(folders, shard, monkeypatch, parts):
    net = net_of(folders["bert"], "native")
    wanted = summed(net, shard, range(8), parts, MECHANISM)
    chosen = kernels.Kernel("oneDNN", kernels._onednn, "asked for by a test")
    monkeypatch.setattr(pick_module, "fastest", lambda *_: chosen)
    found = summed(net, shard, range(8), parts, MECHANISM)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-6


def test_without_onednn_it_is_torch_s_own(monkeypatch):
    """The product is a private operation of torch, and may go away."""

    def gone(*_):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    def wrong(x, weight, bias):
        return 1.001 * torch.nn.functional.linear(x, weight, bias)

    for product, words in ((gone, "this torch has no other"), (wrong, "differ by 1.0e-03")):
        kernels.fastest.cache_clear()
        monkeypatch.setattr(kernels, "_onednn", product)
        found = kernels.fastest(torch.device("cpu"), torch.float32, 32)
        assert (found.name, found.stock) == ("torch", True)
        assert words in found.why
    kernels.fastest.cache_clear()


def test_measuring_the_kernels_takes_no_longer_than_it_may():
    import time

    for precision in ("float32", "bfloat16"):
        kernels.fastest.cache_clear()
        start = time.perf_counter()
        kernels.fastest(torch.device("cpu"), torch.float32, 384, precision)
        assert time.perf_counter() - start < kernels.SECONDS + 2.0  # a busy machine; the bound itself is in the loop


def test_bfloat16_is_near_and_says_by_how_much(folders, shard, monkeypatch):
    net = net_of(folders["bert"], "native")
    wanted = summed(net, shard, range(8), ("A", "B", "head"), MECHANISM)
    chosen = kernels.Kernel("bfloat16", kernels._rounding, "asked for by a test", torch.bfloat16)
    monkeypatch.setattr(pick_module, "fastest", lambda *_: chosen)
    found = summed(net, shard, range(8), ("A", "B", "head"), MECHANISM)
    error = float((found - wanted).norm() / wanted.norm())
    assert 1e-4 < error < 0.1
    assert not any("forward" in vars(module) for module in net.modules())
    monkeypatch.undo()
    assert torch.equal(summed(net, shard, range(8), ("A", "B", "head"), MECHANISM), wanted)
    for ratio, name in ((0.5, "torch"), (3.0, "bfloat16")):
        kernels.fastest.cache_clear()
        monkeypatch.setattr(kernels, "_faster", lambda *_, ratio=ratio: ratio)
        found = kernels.fastest(torch.device("cpu"), torch.float32, 32, "bfloat16")
        assert found.name == name
        assert ("relative error" in found.why) == (name == "bfloat16")
    kernels.fastest.cache_clear()


def test_rounding_spares_the_adapter(folders, shard):
    """Factors too small to show in a weight of 8 bits still have their effect on what a map gives."""
    net = net_of(folders["bert"])
    net.set("B", 1e-4 * net.get("B"), net.layout)
    layer = next(iter(net.layers.values()))
    x = torch.randn(2, 5, 32)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    wanted = float(layer.scaling["default"]) * x @ a.T @ b.T
    kernel = kernels.Kernel("bfloat16", kernels._rounding, "", torch.bfloat16)
    with FusedEngine(net, Flat(net, ("B",)), kernel, losses=losses, pad=0) as engine, torch.no_grad():
        engine.start()
        found = layer(x) - kernel.product(x, kernel.weight(layer.base_layer), layer.base_layer.bias)
    assert float((found - wanted).norm() / wanted.norm()) < 0.05


@pytest.mark.parametrize("private", [True, False])
def test_head_alone_needs_nothing_of_the_encoder_on_the_way_back(folders, shard, private):
    net = net_of(folders["bert"])
    trained(net, ("head",))
    flat = Flat(net, ("head",))
    with pick(TrainSettings(engine="fused"), net, flat, losses=losses, pad=0):
        assert not net.pooled(*batch_of(shard.tokens[:2], 0, net.device)).requires_grad


def other(folder, model):
    """A folder of another architecture, with the tiny tokenizer."""
    tiny_model(folder)
    model.save_pretrained(folder)
    return str(folder)


def bert_like(**more):
    return {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0, "initializer_range": 0.3,
            **more}  # fmt: skip


def test_a_model_whose_states_depend_on_padding_is_not_trained_privately(tmp_path, shard):
    """ConvBERT's convolution reads padding, so an example changes the others' gradients: no clip bounds that."""
    from transformers import ConvBertConfig, ConvBertForSequenceClassification

    model = ConvBertForSequenceClassification(ConvBertConfig(**bert_like(embedding_size=32, head_ratio=1)))
    net = net_of(other(tmp_path, model), "native")
    before = net.get("B").copy()
    for engine in ("opacus", "fused"):
        settings = TrainSettings(batch=4, steps=1, engine=engine)
        private = Private(replace(MECHANISM, sigma=0.5), SecureNoise())
        with pytest.raises(BractError, match="change with the texts it is computed with"):
            fit(net, shard, settings, ("B",), pad=0, private=private)
        assert (net.get("B") == before).all()
        fit(net, shard, settings, ("B",), pad=0)  # without privacy it may
        net.set("B", before, net.layout)


def test_maps_that_also_see_positions_are_found_before_anything_is_spent(tmp_path):
    """DeBERTa's query and key maps are used for relative positions too, which belong to no text."""
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
    folder = other(tmp_path, DebertaV2ForSequenceClassification(DebertaV2Config(**bert_like(**relative))))
    with pytest.raises(BractError, match="for more than each example's own states"):
        require_independent(net_of(folder, "native", targets="query_proj"), pad=0)
    require_independent(net_of(folder, "native", targets="value_proj"), pad=0)


@pytest.mark.parametrize("kind", KINDS)
def test_other_models_states_do_not(folders, kind):
    require_independent(net_of(folders[kind], "mean" if kind == "bert" else "native"), pad=0)


@pytest.mark.parametrize("targets", ["attention", "encoder.layer.1.attention.attn.q"])
def test_layers_of_a_kind_that_is_not_known_are_computed_anew(tmp_path, shard, targets):
    """MPNet's layers give tuples: what they make of a text is not kept."""
    from transformers import MPNetConfig, MPNetForSequenceClassification

    net = net_of(other(tmp_path, MPNetForSequenceClassification(MPNetConfig(**bert_like()))), "native", targets=targets)
    assert frozen_layers(net) == []
    found = summed(net, shard, range(6), ("B", "head"), MECHANISM)
    wanted = summed(net, shard, range(6), ("B", "head"), MECHANISM, engine="opacus")
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5


def test_a_model_that_changes_an_output_in_place_is_trained(tmp_path, shard):
    from transformers import LongformerConfig, LongformerForSequenceClassification

    config = LongformerConfig(**bert_like(attention_window=8, sep_token_id=3))
    net = net_of(other(tmp_path, LongformerForSequenceClassification(config)), "native")
    found, _ = after_training(net, shard, ("B",), "auto", private=False)
    wanted, start = after_training(net, shard, ("B",), "opacus", private=False)
    assert np.linalg.norm(found["B"] - wanted["B"]) < 1e-2 * np.linalg.norm(wanted["B"] - start["B"])


def test_a_base_layer_of_another_kind_is_refused(folders):
    class Half(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) / 2

    net = net_of(folders["bert"])
    next(iter(net.layers.values())).base_layer.__class__ = Half
    assert "is a Half" in refusal(net, Flat(net, ("B",)))


def test_a_fault_while_lending_gives_the_model_back(folders, monkeypatch):
    net = net_of(folders["bert"])
    monkeypatch.setattr(fused, "last_layer", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError), pick(TrainSettings(), net, Flat(net, ("B",)), losses=losses, pad=0):
        pass
    assert not any("forward" in vars(module) for module in net.modules())


def test_an_empty_text_is_computed(folders, shard):
    """A tokenizer without marks of its own makes no token of it."""
    empty = Examples([*shard.tokens[:3], np.zeros(0, np.int32)], shard.targets[:4])
    net = net_of(folders["bert"])
    assert np.isfinite(logits(net, empty.tokens)).all()
    assert torch.isfinite(summed(net, empty, range(4), ("B",), MECHANISM)).all()


def test_a_shelf_is_of_one_kernel_and_of_no_large_client(folders, shard, monkeypatch):
    net = net_of(folders["bert"], targets=QUERY["bert"])
    prefix_cache._shelves.clear()
    summed(net, shard, [0], ("B",), MECHANISM)
    ((name, _),) = prefix_cache._shelves[net]
    assert name == "torch"
    rounding = kernels.Kernel("bfloat16", kernels._rounding, "", torch.bfloat16)
    monkeypatch.setattr(pick_module, "fastest", lambda *_: rounding)
    summed(net, shard, [0], ("B",), MECHANISM)
    assert {name for name, _ in prefix_cache._shelves[net]} == {"torch", "bfloat16"}
    prefix_cache._shelves.clear()
    monkeypatch.setattr(prefix_cache, "SHELF", 0)
    summed(net, shard, [0], ("B",), MECHANISM)
    assert not prefix_cache._shelves[net]


QUERY = {"bert": "layer.1.attention.self.query", "roberta": "layer.1.attention.self.query"}
UPPER = {
    **QUERY,
    "distilbert": "layer.1.attention.q_lin",
    "llama": "layers.1.self_attn.q_proj",
    "gpt2": "h.1.attn.c_attn",
}


def texts_below(net):
    """A list that grows by the number of texts whenever the lower layer computes."""
    (lower,) = frozen_layers(net)
    ran = []
    linear = next(m for m in lower.modules() if "weight" in m._parameters and m.weight.ndim == 2)
    linear.register_forward_hook(lambda module, inputs, _: ran.append(len(inputs[0])))
    return ran


@pytest.mark.parametrize("kind", KINDS)
def test_what_frozen_layers_make_of_a_text_is_kept(folders, shard, kind, monkeypatch):
    """With the upper layer alone adapted, the lower one runs once a text; gradients stay exact to rounding."""
    net = net_of(folders[kind], "native", targets=UPPER[kind]).to(torch.float64)
    ran = texts_below(net)
    wanted = summed(net, shard, range(8), ("B", "head"), MECHANISM, engine="opacus")
    ran.clear()
    for probes, least, most in ((PROBES, 8, len(shard)), (0, 0, 0)):  # at first, the bound, and whole groups
        found = summed(net, shard, range(8), ("B", "head"), MECHANISM)
        assert float((found - wanted).norm() / wanted.norm()) < 1e-12
        assert least <= sum(ran) - probes <= most
        ran.clear()
    monkeypatch.setattr(prefix_cache, "SHELF", 0)
    prefix_cache._shelves.clear()
    for _ in range(2):
        found = summed(net, shard, range(8), ("B", "head"), MECHANISM)
        assert float((found - wanted).norm() / wanted.norm()) < 1e-12
        assert sum(ran) == 8
        ran.clear()


def test_what_was_kept_before_changes_no_bit(folders, shard, monkeypatch):
    """A client may be played by any worker, before or after any other, and once more after a kill."""
    monkeypatch.setattr(prefix_cache, "GROUP", 12)  # many groups
    net = net_of(folders["bert"], targets=UPPER["bert"])
    alone = summed(net, shard, [3, 1, 7], ("B",), MECHANISM)
    prefix_cache._shelves.clear()
    summed(net, shard, [3, 2, 9, 11], ("B",), MECHANISM)
    assert torch.equal(summed(net, shard, [3, 1, 7], ("B",), MECHANISM), alone)
    monkeypatch.setattr(prefix_cache, "ROOM", 1)
    others = [replace(shard) for _ in range(3)]
    for other in others:
        assert torch.equal(summed(net, other, [3, 1, 7], ("B",), MECHANISM), alone)
    assert len(prefix_cache._shelves[net]) == 1


def test_all_layers_adapted_leave_nothing_to_keep(folders):
    assert frozen_layers(net_of(folders["bert"])) == []
