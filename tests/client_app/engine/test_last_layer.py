"""The last layer computes no more than the head reads."""

import pytest

from client_app.engine.last_layer import last_layer
from tests.client_app.nets import MECHANISM, clipped_sum, net_of


@pytest.mark.parametrize(
    ("kind", "pooling", "known"),
    [
        ("bert", "mean", False),
        ("bert", "cls", True),
        ("bert", "native", True),
        ("roberta", "native", True),
        ("distilbert", "cls", False),
        ("llama", "native", False),
    ],
)
def test_the_last_layer_computes_what_the_head_reads(folders, shard, kind, pooling, known):
    """Where it is known to read the first position alone; that the gradients are right is tested for all of them."""
    net = net_of(folders[kind], pooling)
    assert (last_layer(net) is not None) == known
    if not known:
        return
    seen = []
    layer = last_layer(net)
    layer.intermediate.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    clipped_sum(net, shard, [0, 1, 2], ("B",), MECHANISM, engine="fused")
    clipped_sum(net, shard, [0, 1, 2], ("B",), MECHANISM, engine="opacus")
    lengths = {len(shard.tokens[i]) for i in range(3)}
    assert 1 in seen
    assert set(seen) <= {1} | lengths  # Opacus's way computes them all
