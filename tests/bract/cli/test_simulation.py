"""How a machine's cores and GPUs are shared out."""

import pytest

from bract.cli import simulation


def test_the_machine_decides_the_workers(monkeypatch):
    monkeypatch.setattr(simulation, "cpus", lambda: 16)
    monkeypatch.setattr(simulation, "gpus", lambda: 0)
    assert simulation.resources(10) == "num-supernodes=10 client-resources-num-cpus=1"
    assert simulation.resources(4) == "num-supernodes=4 client-resources-num-cpus=4"
    monkeypatch.setattr(simulation, "gpus", lambda: 1)
    assert simulation.resources(10) == (
        "num-supernodes=10 client-resources-num-cpus=4 client-resources-num-gpus=0.2500"
    )


@pytest.mark.parametrize("gpus", range(1, 9))
@pytest.mark.parametrize("nodes", range(1, 12))
@pytest.mark.parametrize("cores", [1, 2, 6, 64])
def test_every_worker_fits_on_a_gpu(monkeypatch, gpus, nodes, cores):
    monkeypatch.setattr(simulation, "cpus", lambda: cores)
    monkeypatch.setattr(simulation, "gpus", lambda: gpus)
    words = dict(word.split("=") for word in simulation.resources(nodes).split())
    share, each = float(words["client-resources-num-gpus"]), int(words["client-resources-num-cpus"])
    assert 0 < share <= 1
    assert each >= 1
    assert min(int(1 / share) * gpus, cores // each) >= 1
