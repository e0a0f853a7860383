"""Tiny models with an adapter, and the gradients that an engine and a mechanism make of them."""

from dataclasses import replace

import numpy as np
import torch

from bract.adapter.initial import draw
from bract.models.lora_model import Shape, build
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.privacy.budget import Private
from client_app.training.gradients import PrivateGradients
from tests.harness import tiny_model

KINDS = ("bert", "roberta", "distilbert", "llama", "gpt2")
MECHANISM = Mechanism(8.0, 1e-5, "prv", clip=1.0, sigma=0.0, rate=0.5, batch=8, steps=1000, rounds=2)


def net_of(folder, pooling="mean", **changes):
    """A model whose factors both have values, so that both have gradients."""
    net = build(replace(Shape(folder, pooling, 4, 2, 4.0, "attention", "random", 0, 32), **changes))
    rng = np.random.default_rng(0)
    for part, vector in draw(net.layout, 0, pooled=pooling != "native").items():
        if part == "B":
            vector = 0.3 * rng.normal(size=len(vector)).astype(np.float32)
        net.set(part, vector, net.layout)
    return net


def require_gradients(net, parts):
    """Set these parts of the model, and nothing else, to train."""
    net.requires_grad_(False)
    for part in parts:
        for p in net.parameters_of(part):
            p.requires_grad_(True)


def noisy_sum(net, shard, rows, parts, private, *, engine="fused", slots=None):
    """The step's gradient of a draw, undone of its division; in the parameters' order."""
    require_gradients(net, parts)
    flat = FlatBuffer(net, parts, slots)
    with select_engine(TrainSettings(engine=engine), net, flat, losses=CLASSIFICATION.losses, pad=0) as selected:
        source = PrivateGradients(
            selected, flat, private.mechanism, private.noise, groups=private.groups, per_person=private.per_person
        )
        gradient, _ = source.gradient(shard, np.array(rows, dtype=np.int64))
    return in_order(net, flat, parts, gradient).double() * private.mechanism.batch


def clipped_sum(net, shard, rows, parts, mechanism, *, groups="all", per_person=0, **options):
    """The same without noise."""
    private = Private(replace(mechanism, sigma=0.0), SecureNoise("x"), groups, per_person)
    return noisy_sum(net, shard, rows, parts, private, **options)


def in_order(net, flat, parts, vector):
    """A flat vector's values as the parameters have them, one after the other."""
    views = {id(view.parameter): view for view in flat.views}
    return torch.cat([views[id(p)].of(vector).reshape(-1) for part in parts for p in net.parameters_of(part)])


def bert_like(**more):
    """The sizes of a tiny model whose configuration has BERT's fields."""
    size = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 64}
    return {
        **size,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
        "initializer_range": 0.3,
        **more,
    }


def saved_in(folder, model):
    """The folder, with this model in it and the tiny tokenizer."""
    tiny_model(folder)
    model.save_pretrained(folder)
    return str(folder)
