"""Settings from the command line, and how many clients they mean."""

from bract.cli.options import default_nodes, overrides_of
from bract.data.demo.generator import make
from bract.settings.read import read


def test_settings_may_be_plain_words_toml_values_or_a_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('rounds = 3\n[lora]\nrank = 2\nhead-init = "random"\n')
    words = [str(file), "strategy.name=fedit train.lr=0.1 run.resume=false data.text='my text'", 'model.name="a b"']
    assert overrides_of(words) == {
        "rounds": 3,
        "lora.rank": 2,
        "lora.head-init": "random",
        "strategy.name": "fedit",
        "train.lr": 0.1,
        "run.resume": False,
        "data.text": "my text",
        "model.name": "a b",
    }


def test_the_demo_has_a_node_for_every_branch():
    assert default_nodes(read({})) == len({e.branch for e in make()})
    assert default_nodes(read({"data.partition": "iid"})) == 8
