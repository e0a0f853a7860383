"""The cluster of docker/: what its files promise, and, where a Docker engine answers, the cluster itself."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.test_house import ROOMS

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "docker" / "cluster"
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
CHECK = runpy.run_path(str(ROOT / "docker" / "check.py"))
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


def test_what_lasts_lies_in_volumes_of_their_own_and_no_folder_of_the_host_is_mounted():
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]]
    assert set(mounted) == COMPOSE["volumes"].keys()
    assert all(options == {} for options in COMPOSE["volumes"].values()), "named, and the engine's own"
    for name in ("superlink", *NODES):
        kept = [volume for volume in SERVICES[name]["volumes"] if not volume.endswith(":ro")]
        assert [volume.split(":")[1] for volume in kept] == ["/data"]
    assert "BRACT_HOME=/data" in DOCKERFILE, "ledgers lie there"
    for name in NODES:
        words = [*SERVICES[name]["entrypoint"], *SERVICES[name]["command"]]
        assert words[words.index("--auth-supernode-private-key") + 1].startswith("/data/")


def test_an_image_s_user_is_not_root_and_owns_nothing_that_is_run():
    stages = {}
    for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = stages[rest.split(" AS ")[1]] = []
        elif word.isupper() and stages:
            stage.append((word, rest))
    assert stages.keys() >= {"server", "client"}
    for name in ("server", "client"):
        users = [rest for word, rest in stages[name] if word == "USER"]
        assert len(users) == 1
        assert users[0] not in {"root", "0"}
        words = [word for word, _ in stages[name]]
        assert max(i for i, word in enumerate(words) if word in {"COPY", "RUN"}) < words.index("USER"), "it is root's"
        assert not [rest for _, rest in stages[name] if "--chown" in rest]
    made = re.search(r"useradd --uid (\d+) .* (\w+)$", DOCKERFILE.split("&&")[0].strip("\\ \n"), re.DOTALL)
    assert int(made[1]) >= 10000, "no user of the host, if it can be helped"
    assert made[2] == users[0]


def test_the_container_from_which_runs_are_submitted_is_confined_too():
    words = shlex.split(re.search(r"docker run --rm .*?\"\$\{BRACT_SERVER", CLUSTER.read_text(), re.DOTALL)[0] + '"')
    assert "--read-only" in words
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert words[words.index("--security-opt") + 1] == "no-new-privileges"
    mounts = [words[i + 1] for i, word in enumerate(words) if word == "-v"]
    assert mounts
    assert all(mount.endswith(":ro") for mount in mounts)
    assert not {"--privileged", "--user", "-u", "--cap-add"} & set(words)


def test_the_images_get_python_files_alone_and_all_of_them():
    """Docker's older builder enters a folder only where it is named, whatever a pattern with ** says."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    for room in ROOMS:
        named, cut, taken = (patterns.index(words) for words in (f"!{room}", "**/*.*", f"!{room}/**/*.py"))
        assert named < cut < taken


STATUS = "Name:\tpython\nUid:\t{uid}\nGid:\t{gid}\n{caps}NoNewPrivs:\t{new}\n"


@pytest.mark.parametrize(
    ("uid", "gid", "bounding", "new", "faults"),
    [
        ("10001\t10001\t10001\t10001", "10001\t10001\t10001\t10001", "0", "1", []),
        ("0\t0\t0\t0", "10001\t10001\t10001\t10001", "0", "1", ["runs as root"]),
        ("10001\t10001\t0\t10001", "10001\t10001\t10001\t10001", "0", "1", ["runs as root"]),
        ("10001\t10001\t10001\t10001", "0\t0\t0\t0", "0", "1", ["runs as root"]),
        ("10001\t10001\t10001\t10001", "10001\t10001\t10001\t10001", "a80425fb", "1", ["has capabilities"]),
        ("10001\t10001\t10001\t10001", "10001\t10001\t10001\t10001", "0", "0", ["may gain rights"]),
    ],
)
def test_the_check_finds_a_process_with_rights(tmp_path, uid, gid, bounding, new, faults):
    caps = "".join(
        f"Cap{kind}:\t{bounding if kind == 'Bnd' else 0:0>16}\n" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    )
    fine = STATUS.format(uid="7", gid="7", caps=caps.replace(bounding, "0"), new="1")
    for number, text in (("1", fine), ("12", STATUS.format(uid=uid, gid=gid, caps=caps, new=new))):
        (tmp_path / number).mkdir()
        (tmp_path / number / "status").write_text(text)
    assert CHECK["processes"](tmp_path) == [f"process 12 (python) {fault}" for fault in faults]


def test_the_check_does_not_take_nothing_for_nothing_wrong(tmp_path):
    assert CHECK["processes"](tmp_path) == ["no process can be seen"]
    tmp_path.chmod(0o755)
    assert CHECK["state"](tmp_path) == [f"{tmp_path} is open to others than its owner", f"{tmp_path} is in no volume"]


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
def test_the_check_notices_a_container_that_is_not_confined():
    image = os.environ.get("BRACT_SERVER_IMAGE", "bract-server")
    if not docker("image", "inspect", "-f", "{{.Id}}", image):
        pytest.skip("the image is not there: docker/cluster check makes it")
    code = "import runpy; print(*runpy.run_path('/app/docker/check.py')['container'](), sep='\\n')"
    confined = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]

    def faults(*words):
        command = ["docker", "run", "--rm", *words, image, "python", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]

    assert faults(*confined) == ["/data is in no volume"]
    open_to_all = faults("--user", "0")
    assert any("runs as root" in fault for fault in open_to_all)
    assert any("has capabilities" in fault for fault in open_to_all)
    assert any("may gain rights" in fault for fault in open_to_all)
    assert "/ is not mounted read-only" in open_to_all


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
