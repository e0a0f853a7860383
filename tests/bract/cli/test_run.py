"""`bract run`, up to the point where Flower is started."""

from pathlib import Path

from bract.cli.run import without_privacy

ROOT = str(Path(__file__).parents[3])


def test_the_price_is_asked_of_private_simulations_alone(fails):
    assert "--price: compares" in fails("run", ROOT, "--price", "-c", "privacy.unit=none")
    overrides = {"privacy.unit": "example", "privacy.epsilon": 3.0, "rounds": 2, "run.folder": "/x"}
    assert without_privacy(overrides) == {"rounds": 2, "run.folder": "/x-plain", "privacy.unit": "none"}


def test_fewer_nodes_than_the_run_waits_for_are_refused_at_once(fails):
    assert "--nodes starts only 2" in fails("run", ROOT, "--nodes", "2", "-c", "federation.nodes=4")
