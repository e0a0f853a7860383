"""Which engine trains is logged with its reason."""

import logging

import pytest

from bract.errors import BractError
from bract.settings.schema import TrainSettings
from bract.tasks.classification import CLASSIFICATION
from client_app.engine import auto_engine as selecting
from client_app.engine.auto_engine import select_engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.opacus import OpacusEngine
from client_app.engine.supported import why_unsupported
from tests.client_app.nets import net_of


def test_vera_and_other_adapters_are_left_to_autograd(folders, shard, caplog):
    net = net_of(folders["bert"], variant="vera", rank=8)
    flat = FlatBuffer(net, ("B",))
    assert "not by one plain LoRA" in why_unsupported(net, flat)
    selecting._log_once.cache_clear()
    with caplog.at_level(logging.INFO):
        assert isinstance(select_engine(TrainSettings(), net, flat, losses=CLASSIFICATION.losses, pad=0), OpacusEngine)
    assert "training by Opacus and autograd: encoder.layer.0.attention.self.query is adapted by" in caplog.text
    with pytest.raises(BractError, match="train.engine = 'fused' cannot train this exactly"):
        select_engine(TrainSettings(engine="fused"), net, flat, losses=CLASSIFICATION.losses, pad=0)
