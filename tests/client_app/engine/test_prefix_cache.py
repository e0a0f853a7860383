"""The prefix cache: it saves the work, and changes no bit."""

from dataclasses import replace

import pytest
import torch

from client_app.engine import auto_engine as selecting
from client_app.engine import kernels, prefix_cache
from client_app.engine.prefix_cache import frozen_layers
from tests.client_app.nets import KINDS, MECHANISM, bert_like, clipped_sum, net_of, saved_in

PROBES = 2  # texts that pass through a model, once, to find what a token takes
UPPER = {
    "bert": "layer.1.attention.self.query",
    "roberta": "layer.1.attention.self.query",
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


@pytest.mark.parametrize("targets", ["attention", "encoder.layer.1.attention.attn.q"])
def test_layers_of_a_kind_that_is_not_known_are_computed_anew(tmp_path, shard, targets):
    """MPNet's layers give tuples: what they make of a text is not cached."""
    from transformers import MPNetConfig, MPNetForSequenceClassification

    net = net_of(
        saved_in(tmp_path, MPNetForSequenceClassification(MPNetConfig(**bert_like()))), "native", targets=targets
    )
    assert frozen_layers(net) == []
    found = clipped_sum(net, shard, range(6), ("B", "head"), MECHANISM)
    wanted = clipped_sum(net, shard, range(6), ("B", "head"), MECHANISM, engine="opacus")
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5


def test_a_cache_entry_is_of_one_kernel_and_of_no_large_client(folders, shard, monkeypatch):
    net = net_of(folders["bert"], targets=UPPER["bert"])
    prefix_cache._entries.clear()
    clipped_sum(net, shard, [0], ("B",), MECHANISM)
    ((name, _),) = prefix_cache._entries[net]
    assert name == "torch"
    rounding = kernels.Kernel("bfloat16", kernels.rounded_product, "", torch.bfloat16)
    monkeypatch.setattr(selecting, "fastest", lambda *_: rounding)
    clipped_sum(net, shard, [0], ("B",), MECHANISM)
    assert {name for name, _ in prefix_cache._entries[net]} == {"torch", "bfloat16"}
    prefix_cache._entries.clear()
    monkeypatch.setattr(prefix_cache, "ENTRY_BUDGET", 0)
    clipped_sum(net, shard, [0], ("B",), MECHANISM)
    assert not prefix_cache._entries[net]


@pytest.mark.parametrize("kind", KINDS)
def test_what_frozen_layers_make_of_a_text_is_cached(folders, shard, kind, monkeypatch):
    """With the upper layer alone adapted, the lower one runs once a text; gradients stay exact to rounding."""
    net = net_of(folders[kind], "native", targets=UPPER[kind]).to(torch.float64)
    ran = texts_below(net)
    wanted = clipped_sum(net, shard, range(8), ("B", "head"), MECHANISM, engine="opacus")
    ran.clear()
    for probes, least, most in ((PROBES, 8, len(shard)), (0, 0, 0)):  # at first, the bound, and whole groups
        found = clipped_sum(net, shard, range(8), ("B", "head"), MECHANISM)
        assert float((found - wanted).norm() / wanted.norm()) < 1e-12
        assert least <= sum(ran) - probes <= most
        ran.clear()
    monkeypatch.setattr(prefix_cache, "ENTRY_BUDGET", 0)
    prefix_cache._entries.clear()
    for _ in range(2):
        found = clipped_sum(net, shard, range(8), ("B", "head"), MECHANISM)
        assert float((found - wanted).norm() / wanted.norm()) < 1e-12
        assert sum(ran) == 8
        ran.clear()


def test_what_was_cached_before_changes_no_bit(folders, shard, monkeypatch):
    """A client may be trained by any worker, before or after any other, and once more after a kill."""
    monkeypatch.setattr(prefix_cache, "GROUP_TOKENS", 12)  # many groups
    net = net_of(folders["bert"], targets=UPPER["bert"])
    alone = clipped_sum(net, shard, [3, 1, 7], ("B",), MECHANISM)
    prefix_cache._entries.clear()
    clipped_sum(net, shard, [3, 2, 9, 11], ("B",), MECHANISM)
    assert torch.equal(clipped_sum(net, shard, [3, 1, 7], ("B",), MECHANISM), alone)
    monkeypatch.setattr(prefix_cache, "MEMORY_BUDGET", 1)
    others = [replace(shard) for _ in range(3)]
    for other in others:
        assert torch.equal(clipped_sum(net, other, [3, 1, 7], ("B",), MECHANISM), alone)
    assert len(prefix_cache._entries[net]) == 1


def test_all_layers_adapted_leave_nothing_to_cache(folders):
    assert frozen_layers(net_of(folders["bert"])) == []
