"""What `bract plan` keeps from the last time is what it would find again."""

import json
import subprocess
import sys

from bract.settings.read import read
from server_app.layouts import layout_of


def test_a_layout_is_kept_and_is_the_same(config, home):
    settings = read(config())
    first = layout_of(settings, 4)
    (kept,) = (home / "cache").iterdir()
    assert layout_of(settings, 4) == first
    assert first[0].slots == 8
    assert layout_of(settings, 5) != first  # another head
    assert layout_of(read(config({"lora.rank": 3})), 4)[0].rank == 3
    assert len(list((home / "cache").iterdir())) == 3
    kept.write_text(json.dumps({"layout": {}, "head_init": "random"}))
    assert layout_of(settings, 4) == first  # damaged: made again


def test_the_second_plan_needs_no_torch(config, home):
    """Which is most of the time that it takes."""
    words = read({**config(), "privacy.unit": "example", "train.batch": 8}).to_toml()
    code = (
        "import io, sys\nfrom server_app import estimate\n"
        f"sys.stdin, sys.argv = io.StringIO({words!r}), ['plan', '3']\n"
        "assert estimate.main() == 0\nprint('torch' in sys.modules)"
    )
    said = [
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [text.strip().splitlines()[-1] for text in said] == ["True", "False"]
    assert said[0].splitlines()[:-1] == said[1].splitlines()[:-1]
    assert "epsilon    by rounds joined" in said[1]
