"""The exported folder loads with PEFT alone, and gives what the run itself measured."""

import contextlib
import io
import re

import numpy as np
import pytest
import torch

import bract
from bract.errors import BractError
from bract.models.lora_model import build, shape
from bract.results.run_folder import read_settings
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.tokens import logits, tokenise
from server_app.checkpoint import Checkpoint

TEXTS = ["my card is lost", "what is the rate today", "help me please", "it is late"]
CASES = [("native", "random"), ("mean", "labels"), ("cls", "random")]


VARIANTS = ["lora", "rslora", "vera"]


def trained(simulate, pooling, head_init, strategy="fedit", variant="lora"):
    values = {"model.pooling": pooling, "lora.head-init": head_init, "strategy.name": strategy, "lora.head": "shared"}
    folder, _ = simulate({**values, "lora.variant": variant, "lora.rank": 4, "train.epochs": 2})
    return folder


def the_runs_own(folder):
    """Logits as the run's own evaluation computes them, from the checkpoint."""
    settings = read_settings(folder.path)
    wanted = shape(settings, 4, CLASSIFICATION.auto_class)
    net = build(wanted)
    state = Checkpoint.load(folder.checkpoint)
    for part, vector in state.parts.items():
        net.set(part, vector, state.layout)
    return logits(net, tokenise(TEXTS, wanted.place, settings.data.max_length))


@pytest.mark.parametrize(("pooling", "head_init"), CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_bract_load_gives_the_runs_logits(simulate, pooling, head_init, variant):
    folder = trained(simulate, pooling, head_init, variant=variant)
    own = the_runs_own(folder)
    loaded = bract.load(folder.adapter)
    assert np.abs(loaded.logits(TEXTS) - own).max() < 1e-5
    assert loaded.predict(TEXTS) == [["help", "late", "lost", "rate"][i] for i in own.argmax(-1)]


@pytest.mark.parametrize(("pooling", "head_init"), CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_model_cards_own_lines_give_the_runs_logits(simulate, pooling, head_init, variant):
    """What the card shows in plain transformers and PEFT is run as it stands, word for word."""
    folder = trained(simulate, pooling, head_init, variant=variant)
    card = (folder.adapter / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", card, re.S)[1]
    code = code.replace("THIS_FOLDER", str(folder.adapter)).replace('["a text"]', repr(TEXTS))
    scope: dict[str, object] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, scope)
    found = scope["logits"]
    assert isinstance(found, torch.Tensor)
    own = the_runs_own(folder)
    assert np.abs(found.numpy() - own).max() < 1e-5
    assert out.getvalue().strip() == repr([["help", "late", "lost", "rate"][i] for i in own.argmax(-1)])
    assert np.abs(own - own[0]).max() > 0.01  # the texts do differ: the comparison means something


def test_the_card_says_what_was_trained(simulate):
    folder = trained(simulate, "native", "random", "ffa")
    card = (folder.adapter / "README.md").read_text()
    assert "Method `ffa`, 3 clients, 2 rounds, rank 4." in card
    assert f"{folder.rounds()[-1]['accuracy']:.4f}" in card


def test_a_folder_that_is_no_adapter_is_named(tmp_path):
    with pytest.raises(BractError, match="no adapter that Bract exported"):
        bract.load(tmp_path)
