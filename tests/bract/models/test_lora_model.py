from dataclasses import replace

import numpy as np
import pytest
import torch

from bract.adapter.initial import draw
from bract.batching import batch_of
from bract.errors import BractError
from bract.models import base_model
from bract.models.lora_model import Shape, build, select_targets, shape
from bract.settings.read import read
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import summed
from bract.tasks.tokens import logits, tokenise
from tests.harness import TEXTS, examples_of, tiny_model

KINDS = ["bert", "roberta", "distilbert", "llama"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: str(tiny_model(tmp_path_factory.mktemp(kind), kind)) for kind in KINDS}


def shape_of(folder, pooling="native", **changes):
    return replace(Shape(folder, pooling, 4, 2, 4.0, "attention", "random", 0, 32), **changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["native", "mean", "cls"])
def test_every_architecture_has_a_layout_without_reading_weights(folders, kind, pooling):
    wanted = shape_of(folders[kind], pooling)
    layout = build(wanted, meta=True).layout
    net = build(wanted)
    assert layout == net.layout
    assert len(layout.modules) == 4  # query and value of two layers
    assert all(p.device.type == "meta" for p in build(wanted, meta=True).parameters())
    head = {t.name: t.shape for t in layout.head}
    assert (4, 32) in head.values()
    assert not any("lora" in name or "encoder" in name for name in head)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["native", "mean"])
def test_parts_go_in_and_come_out_unchanged(folders, kind, pooling):
    net = build(shape_of(folders[kind], pooling))
    rng = np.random.default_rng(0)
    for part in ("A", "B", "head"):
        vector = rng.normal(size=net.layout.size(part)).astype(np.float32)
        net.set(part, vector, net.layout)
        assert (net.get(part) == vector).all()


@pytest.mark.parametrize("kind", KINDS)
def test_veras_vectors_go_in_and_come_out_unchanged(folders, kind):
    wanted = shape_of(folders[kind], variant="vera", rank=16)
    net = build(wanted)
    layout = net.layout
    assert layout == build(wanted, meta=True).layout
    assert {m.d_in for m in layout.modules} == {16}
    assert layout.slots == len(layout.modules) == 4
    first = draw(layout, 0, pooled=False)
    for part in ("A", "B"):
        assert (net.get(part) == first[part]).all()  # PEFT's own first values
        vector = np.random.default_rng(0).normal(size=layout.size(part)).astype(np.float32)
        net.set(part, vector, layout)
        assert (net.get(part) == vector).all()


def test_veras_frozen_matrices_are_the_seed_s(folders):
    def projection(seed):
        net = build(shape_of(folders["bert"], variant="vera", rank=16, seed=seed))
        return [net.model.base_model.vera_A["default"], net.model.base_model.vera_B["default"]]

    one, again, other = projection(1), projection(1), projection(2)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert not any((a == b).all() for a, b in zip(one, other, strict=True))


def test_rslora_is_scaled_by_the_root_of_the_rank(folders):
    """alpha / sqrt(r) = 4 / 2, where plain LoRA has 4 / 4: its logits are those of a B twice as long."""
    rng = np.random.default_rng(0)
    ids, mask = batch_of([[2, 5, 6, 3]], 0, torch.device("cpu"))
    found = {}
    for variant, scale in (("lora", 2.0), ("rslora", 1.0)):
        net = build(shape_of(folders["bert"], variant=variant, rank=4))
        rng = np.random.default_rng(0)
        for part in ("A", "B"):
            vector = 0.2 * rng.normal(size=net.layout.size(part)).astype(np.float32)
            net.set(part, vector * np.float32(scale if part == "B" else 1.0), net.layout)
        net.set("head", np.random.default_rng(1).normal(size=net.layout.size("head")).astype(np.float32), net.layout)
        found[variant] = net(ids, mask).detach()
    assert torch.allclose(found["lora"], found["rslora"], atol=1e-5)


def test_the_product_is_pefts(folders):
    """Rank-first rows are laid into PEFT's matrices the right way round: the logits prove it."""
    net = build(shape_of(folders["bert"]))
    layout = net.layout
    rng = np.random.default_rng(0)
    parts = {p: rng.normal(size=layout.size(p)).astype(np.float32) * 0.3 for p in ("A", "B")}
    ids, mask = batch_of([[2, 5, 6, 3], [2, 7, 3]], 0, torch.device("cpu"))
    for part, vector in parts.items():
        net.set(part, vector, layout)
    adapted = net(ids, mask).detach()
    plain = build(shape_of(folders["bert"]))
    for part in ("head",):
        plain.set(part, net.get(part), layout)
    inner = plain.model.get_base_model()
    a, b = layout.matrices("A", parts["A"]), layout.matrices("B", parts["B"])
    for module, a_rows, b_rows in zip(layout.modules, a, b, strict=True):
        weight = inner.get_submodule(module.name).base_layer.weight
        weight.data += torch.from_numpy(4.0 / 2 * b_rows.T @ a_rows)
    assert torch.allclose(plain(ids, mask), adapted, atol=1e-5)
    assert not torch.allclose(build(shape_of(folders["bert"]))(ids, mask), adapted, atol=1e-2)


def test_padding_changes_nothing(folders):
    for pooling in ("native", "mean", "cls"):
        net = build(shape_of(folders["bert"], pooling))
        for part, vector in draw(net.layout, 0, pooled=pooling != "native").items():
            net.set(part, vector, net.layout)
        alone = net(*batch_of([[2, 7, 3]], 0, torch.device("cpu")))
        padded = net(*batch_of([[2, 7, 3], [2, 5, 6, 8, 9, 3]], 0, torch.device("cpu")))
        assert torch.allclose(alone[0], padded[0], atol=1e-5)


def test_targets_are_named_or_an_error_lists_what_there_is():
    names = {"encoder.0.attention.query", "encoder.0.attention.value", "encoder.0.dense", "pooler.dense"}
    assert select_targets("attention", names) == ["encoder.0.attention.query", "encoder.0.attention.value"]
    assert "pooler.dense" not in select_targets("all-linear", names)
    assert len(select_targets("all-linear", names)) == 3
    assert select_targets("encoder.0.dense", names) == ["encoder.0.dense"]
    with pytest.raises(BractError, match="the model has no q_proj; its linear layers are dense, query, value"):
        select_targets("query,q_proj", names)
    with pytest.raises(BractError, match="the model has no query and value layers"):
        select_targets("attention", {"encoder.0.dense"})


def test_labels_start_the_head_from_the_base_model_alone(folders):
    net = build(shape_of(folders["bert"], "mean", head_init="labels"))
    ids = [t.tolist() for t in tokenise(["lost", "late", "rate", "help"], folders["bert"], 16)]
    first = net.initial_parts(net.layout, ids, 0)
    rows = first["head"][: 4 * 32].reshape(4, 32)
    assert np.allclose(np.linalg.norm(rows, axis=1), 20, atol=1e-3)
    assert (first["head"][4 * 32 :] == 0).all()
    net.set("A", np.ones(net.layout.size("A"), np.float32), net.layout)
    net.set("B", np.ones(net.layout.size("B"), np.float32), net.layout)
    assert (net.initial_parts(net.layout, ids, 0)["head"] == first["head"]).all()
    # Untrained, a text that is a label's own name is taken for it.
    net.set("B", first["B"], net.layout)
    net.set("head", first["head"], net.layout)
    assert logits(net, [np.array(i, np.int32) for i in ids]).argmax(-1).tolist() == [0, 1, 2, 3]


def test_measuring_does_not_depend_on_the_order_of_the_examples(folders):
    net = build(shape_of(folders["bert"]))
    for part, vector in draw(net.layout, 0, pooled=False).items():
        net.set(part, vector, net.layout)
    texts = [t for ts in TEXTS.values() for t in ts] * 6
    labels = [n for n, ts in TEXTS.items() for _ in ts] * 6
    one, back = (
        summed(CLASSIFICATION.measure(net, examples_of(texts[::way], labels[::way], folders["bert"])))
        for way in (1, -1)
    )
    assert (one["examples"], one["correct"]) == (back["examples"], back["correct"]) == (96, one["correct"])
    assert abs(one["loss"] - back["loss"]) < 1e-4


# -- Where models come from -----------------------------------------------------------------------


def test_only_safetensors_are_loaded(tmp_path, folders):
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(folders["bert"], folder)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BractError, match="cannot be loaded"):
        build(shape_of(str(folder)))
    with pytest.raises(BractError, match="no .safetensors weights"):
        base_model.fingerprint(str(folder))


def test_remote_code_is_never_run(tmp_path, folders):
    import json
    import shutil

    folder = tmp_path / "remote"
    shutil.copytree(folders["bert"], folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('remote code ran')")
    with pytest.raises(BractError, match="cannot be read"):
        build(shape_of(str(folder)))


def test_weights_that_the_files_lack_are_refused(tmp_path):
    """transformers would draw them anew in every process, so clients would train different models."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "mlm")
    with pytest.raises(BractError, match=r"no weights for bert.pooler.*set model.pooling to mean or cls"):
        build(shape_of(str(tmp_path / "mlm")))
    build(shape_of(str(tmp_path / "mlm"), "mean"))


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(BractError, match="model.name: there is no folder"):
        base_model.locate(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BractError, match="holds no config.json"):
        base_model.locate(str(tmp_path / "empty"))
    with pytest.raises(BractError, match="should be absolute"):
        base_model.locate("./model")
    with pytest.raises(BractError, match="model.name: nobody/nothing cannot be read"):
        build(shape(read({"model.name": "nobody/nothing"}), 4, CLASSIFICATION.auto_class), meta=True)


def test_the_fingerprint_is_of_the_weights(folders):
    assert base_model.fingerprint(folders["bert"]) != base_model.fingerprint(folders["roberta"])
    assert base_model.fingerprint(folders["bert"]) == base_model.fingerprint(folders["bert"])


def test_minilm_is_the_published_one():
    place = base_model.locate("minilm")
    assert base_model.sha256(base_model.Path(place) / "model.safetensors") == base_model.MINILM_SHA256
    wanted = shape(read({}), 8, CLASSIFICATION.auto_class)
    assert (wanted.pooling, wanted.head_init) == ("mean", "labels")
    assert base_model.public_name("minilm") == "sentence-transformers/all-MiniLM-L6-v2"
    import sys

    assert base_model.MINILM_PACKAGE not in sys.modules  # found, never imported


def test_minilm_with_other_weights_is_refused(tmp_path, monkeypatch):
    package = tmp_path / base_model.MINILM_PACKAGE
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('its code ran')")
    (package / "model" / "model.safetensors").write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    base_model.locate.cache_clear()
    try:
        with pytest.raises(BractError, match="not the published ones"):
            base_model.locate("minilm")
    finally:
        base_model.locate.cache_clear()
