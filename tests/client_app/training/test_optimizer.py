"""The optimizer over one vector: torch's own, to the bit."""

from dataclasses import replace

import pytest
import torch

from bract.settings.schema import TrainSettings
from client_app.engine.flat_buffer import FlatBuffer
from client_app.training.optimizer import FlatOptimizer
from tests.client_app.nets import net_of

PARTS = ("A", "B", "head")
SETTINGS = TrainSettings(lr_ratio=5.0)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_moves_every_value_as_an_optimizer_over_the_parameters_does(folders, optimizer):
    net, other = net_of(folders["bert"]), net_of(folders["bert"])
    flat, their_flat = FlatBuffer(net, PARTS), FlatBuffer(other, PARTS)
    ours = FlatOptimizer(flat, replace(SETTINGS, optimizer=optimizer), 0.01)
    groups = [
        {"params": other.requires_grad_().parameters_of(part), "lr": 0.05 if part == "B" else 0.01} for part in PARTS
    ]
    theirs = torch.optim.SGD(groups) if optimizer == "sgd" else torch.optim.AdamW(groups, weight_decay=0.0)
    random = torch.Generator().manual_seed(0)
    start = flat.values()
    for _ in range(5):
        gradient = torch.randn(flat.size, generator=random)
        ours.step(gradient)
        for view in their_flat.views:
            view.parameter.grad = view.of(gradient)
        theirs.step()
        for part in PARTS:
            assert (net.get(part) == other.get(part)).all()
    assert (flat.values() == ours.values).all()
    assert float((flat.values() - start).abs().min()) > 0  # all of them moved


def test_moments_are_one_buffer_a_part(folders):
    net = net_of(folders["bert"])
    flat = FlatBuffer(net, PARTS)
    ours = FlatOptimizer(flat, SETTINGS, 0.01)
    ours.step(torch.ones(flat.size))
    sizes = [state["exp_avg"].numel() for state in ours._optimizer.state.values()]
    assert sizes == [net.layout.size(part) for part in PARTS]
    assert len(list(net.parameters_of("A"))) > 1
    assert all(p.grad is None for p in net.parameters())
