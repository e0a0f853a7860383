"""Matrix products with frozen weights: other ways give the same numbers, and rounding is told."""

import pytest
import torch

from bract.tasks.classification import CLASSIFICATION
from client_app.engine import auto_engine as selecting
from client_app.engine import kernels
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.fused import FusedEngine
from tests.client_app.nets import MECHANISM, clipped_sum, net_of


def onednn():
    try:
        kernels.onednn_product(torch.ones(1, 1), torch.ones(1, 1), None)
    except (AttributeError, RuntimeError):
        return False
    return True


@pytest.mark.skipif(not onednn(), reason="this torch has no oneDNN product")
@pytest.mark.parametrize("parts", [("B",), ("A", "B", "head")])
def test_other_kernels_give_the_same(folders, shard, monkeypatch, parts):
    net = net_of(folders["bert"], "native")
    wanted = clipped_sum(net, shard, range(8), parts, MECHANISM)
    chosen = kernels.Kernel("oneDNN", kernels.onednn_product, "asked for by a test")
    monkeypatch.setattr(selecting, "fastest", lambda *_: chosen)
    found = clipped_sum(net, shard, range(8), parts, MECHANISM)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-6


def test_without_onednn_it_is_torch_s_own(monkeypatch):
    """The product is a private operation of torch, and may go away."""

    def gone(*_):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    def wrong(x, weight, bias):
        return 1.001 * torch.nn.functional.linear(x, weight, bias)

    for product, words in ((gone, "this torch has no other"), (wrong, "differ by 1.0e-03")):
        kernels.fastest.cache_clear()
        monkeypatch.setattr(kernels, "onednn_product", product)
        found = kernels.fastest(torch.device("cpu"), torch.float32, 32)
        assert (found.name, found.is_default) == ("torch", True)
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
    wanted = clipped_sum(net, shard, range(8), ("A", "B", "head"), MECHANISM)
    chosen = kernels.Kernel("bfloat16", kernels.rounded_product, "asked for by a test", torch.bfloat16)
    monkeypatch.setattr(selecting, "fastest", lambda *_: chosen)
    found = clipped_sum(net, shard, range(8), ("A", "B", "head"), MECHANISM)
    error = float((found - wanted).norm() / wanted.norm())
    assert 1e-4 < error < 0.1
    assert not any("forward" in vars(module) for module in net.modules())
    monkeypatch.undo()
    assert torch.equal(clipped_sum(net, shard, range(8), ("A", "B", "head"), MECHANISM), wanted)
    for ratio, name in ((0.5, "torch"), (3.0, "bfloat16")):
        kernels.fastest.cache_clear()
        monkeypatch.setattr(kernels, "_speedup", lambda *_, ratio=ratio: ratio)
        found = kernels.fastest(torch.device("cpu"), torch.float32, 32, "bfloat16")
        assert found.name == name
        assert ("relative error" in found.why) == (name == "bfloat16")
    kernels.fastest.cache_clear()


def test_rounding_spares_the_adapter(folders, shard):
    """Factors too small to show in a weight of 8 bits still have their effect on what a layer gives."""
    net = net_of(folders["bert"])
    net.set("B", 1e-4 * net.get("B"), net.layout)
    layer = next(iter(net.layers.values()))
    x = torch.randn(2, 5, 32)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    wanted = float(layer.scaling["default"]) * x @ a.T @ b.T
    kernel = kernels.Kernel("bfloat16", kernels.rounded_product, "", torch.bfloat16)
    with (
        FusedEngine(net, FlatBuffer(net, ("B",)), kernel, losses=CLASSIFICATION.losses, pad=0) as engine,
        torch.no_grad(),
    ):
        engine.start()
        found = layer(x) - kernel.product(x, kernel.weight(layer.base_layer), layer.base_layer.bias)
    assert float((found - wanted).norm() / wanted.norm()) < 0.05
