"""The cluster of docker/: what its files promise, and, where a Docker engine answers, the cluster itself."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "docker" / "cluster"
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
SERVICES = COMPOSE["services"]
NODES = sorted(name for name in SERVICES if name.startswith("node"))


def docker(*words):
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


ENGINE = shutil.which("docker") is not None and bool(docker("info", "--format", "{{.ServerVersion}}"))
needs_engine = pytest.mark.skipif(not ENGINE, reason="no Docker engine answers ('docker info')")


def test_every_node_has_its_own_network_and_volume():
    networks = [SERVICES[name]["networks"] for name in NODES]
    assert all(len(own) == 1 for own in networks)
    assert (
        sorted(own[0] for own in networks) == sorted(SERVICES["superlink"]["networks"]) == sorted(COMPOSE["networks"])
    )
    assert all(network == {"internal": True} for network in COMPOSE["networks"].values())
    for name in NODES:
        written = [v for v in SERVICES[name]["volumes"] if not v.endswith(":ro")]
        assert written == [f"{name}:/data"]
        assert not [other for other in SERVICES if other != name and f"{name}:" in str(SERVICES[other].get("volumes"))]


def test_nothing_is_published_and_everything_is_confined():
    for service in SERVICES.values():
        assert not {"ports", "privileged", "cap_add", "user"} & set(service)
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert [name for name in SERVICES if "authority:/" in str(SERVICES[name]["volumes"])] == ["authority"]


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command")
def test_without_an_engine_it_says_so_in_a_line():
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    done = subprocess.run([CLUSTER, "check"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["cluster: no Docker engine answers: see 'docker info'"]


def left(process):
    """What is left of a check: its project's name holds the number of its process."""
    mine = f"label=com.docker.compose.project=bract-check-{process.pid}"
    return [
        *docker("ps", "-aq", "--filter", mine),
        *docker("network", "ls", "-q", "--filter", mine),
        *docker("volume", "ls", "-q", "--filter", mine),
    ]


@pytest.mark.long
@needs_engine
def test_a_cluster_trains_as_a_simulation_does_and_leaves_nothing():
    with subprocess.Popen([CLUSTER, "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, said
    assert "the same as in a simulation" in said
    assert left(process) == []


@pytest.mark.long
@needs_engine
@pytest.mark.parametrize("how", ["a node is killed", "the check is told to end"])
def test_what_goes_wrong_is_said_and_leaves_nothing(how):
    said = ""
    with subprocess.Popen([CLUSTER, "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            said += line
            if not line.startswith("before training"):
                continue
            if how == "a node is killed":
                mine = f"label=com.docker.compose.project=bract-check-{process.pid}"
                [node] = docker("ps", "-q", "--filter", mine, "--filter", "label=com.docker.compose.service=node1")
                docker("kill", node)
            else:
                process.terminate()
                told = time.monotonic()
    if how == "a node is killed":
        assert process.returncode == 1
        assert "fault: round 2: 2 of 3 nodes answered" in said
        assert "cluster: node1 is: exited" in said
    else:
        assert process.returncode == 130
        assert time.monotonic() - told < 60
    assert left(process) == []
