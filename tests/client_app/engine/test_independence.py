"""Batch independence: what no clip could bound is found before anything is spent."""

from dataclasses import replace

import pytest

from bract.errors import BractError
from bract.privacy.noise import SecureNoise
from bract.settings.schema import TrainSettings
from client_app.engine.independence import require_independent
from client_app.privacy.budget import Private
from tests.client_app.nets import KINDS, MECHANISM, bert_like, net_of, saved_in
from tests.harness import fit


def test_a_model_whose_states_depend_on_padding_is_not_trained_privately(tmp_path, shard):
    """ConvBERT's convolution reads padding, so an example changes the others' gradients: no clip bounds that."""
    from transformers import ConvBertConfig, ConvBertForSequenceClassification

    model = ConvBertForSequenceClassification(ConvBertConfig(**bert_like(embedding_size=32, head_ratio=1)))
    net = net_of(saved_in(tmp_path, model), "native")
    before = net.get("B").copy()
    for engine in ("opacus", "fused"):
        settings = TrainSettings(batch=4, steps=1, engine=engine)
        private = Private(replace(MECHANISM, sigma=0.5), SecureNoise())
        with pytest.raises(BractError, match="change with the texts it is computed with"):
            fit(net, shard, settings, ("B",), pad=0, private=private)
        assert (net.get("B") == before).all()
        fit(net, shard, settings, ("B",), pad=0)  # without privacy it may
        net.set("B", before, net.layout)


def test_layers_that_also_see_positions_are_found_before_anything_is_spent(tmp_path):
    """DeBERTa's query and key layers are used for relative positions too, which belong to no text."""
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
    folder = saved_in(tmp_path, DebertaV2ForSequenceClassification(DebertaV2Config(**bert_like(**relative))))
    with pytest.raises(BractError, match="for more than each example's own states"):
        require_independent(net_of(folder, "native", targets="query_proj"), pad=0)
    require_independent(net_of(folder, "native", targets="value_proj"), pad=0)


@pytest.mark.parametrize("kind", KINDS)
def test_other_models_states_do_not(folders, kind):
    require_independent(net_of(folders[kind], "mean" if kind == "bert" else "native"), pad=0)
