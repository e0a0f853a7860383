import pytest

from tests.client_app.nets import KINDS
from tests.client_app.policy_files import OPEN, write_policy
from tests.harness import TEXTS, examples_of, tiny_data, tiny_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model of each kind."""
    return {kind: str(tiny_model(tmp_path_factory.mktemp(kind), kind)) for kind in KINDS}


@pytest.fixture
def shard(folders):
    """Texts of different lengths."""
    texts = [text for texts in TEXTS.values() for text in texts] + ["lost", "help me please " * 5]
    labels = [name for name, texts in TEXTS.items() for _ in texts] + ["lost", "help"]
    return examples_of(texts, labels, folders["bert"], 32)


@pytest.fixture
def sites(tmp_path, model_folder):
    """Three sites' own files, of unequal size, under policies that allow all; `sites(WORDS)` changes these."""

    model = model_folder

    def made(**words):
        configs = {}
        for i in range(3):
            data = tiny_data(tmp_path / f"site{i}.csv", copies=3 + i)
            configs[i] = {"policy": str(write_policy(tmp_path / f"policy{i}.toml", model, data, **{**OPEN, **words}))}
        return configs

    return made
