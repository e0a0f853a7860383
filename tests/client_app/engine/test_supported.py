"""What the fused engine refuses, as it could not train it exactly."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.supported import why_unsupported
from tests.client_app.nets import net_of


@pytest.mark.parametrize("more", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}])
def test_what_is_more_than_two_factors_is_refused(folders, more):
    net = net_of(folders["bert"])
    base = net.model.unload()
    names = list(net.layers)
    net.model = get_peft_model(base, LoraConfig(r=2, target_modules=names, **more))
    net.layers = {n: m for n, m in net.model.get_base_model().named_modules() if n in names}
    assert "more than two factors" in why_unsupported(net, FlatBuffer(net, ("B",)))


def test_a_trained_value_that_two_modules_share_is_refused(folders):
    net = net_of(folders["bert"])
    assert why_unsupported(net, FlatBuffer(net, ("B", "head"))) is None
    net.tied = torch.nn.Linear(32, 4)
    net.tied.weight = net.linear.weight
    assert "shared by two modules" in why_unsupported(net, FlatBuffer(net, ("B", "head")))


def test_a_base_layer_of_another_kind_is_refused(folders):
    class Half(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) / 2

    net = net_of(folders["bert"])
    next(iter(net.layers.values())).base_layer.__class__ = Half
    assert "is a Half" in why_unsupported(net, FlatBuffer(net, ("B",)))
