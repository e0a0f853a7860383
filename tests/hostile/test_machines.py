"""The worst of the attacks once more, over a real SuperLink and by a ServerApp that means harm."""

import json
import shutil
from pathlib import Path

import pytest

from bract.settings.flat import toml
from bract.wire.cards import ClientCard
from tests.hostile.node import LABELS, TEXT, UNLISTED, Node
from tests.machines import ROOMS, ROOT, Machines, until

pytestmark = pytest.mark.long
SERVER = Path(__file__).parent / "server.py"


def app_of(folder):
    """An app whose server is the hostile one."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SERVER, folder / "server_app" / "app.py")
    return folder


def replies(machines, app, name, wishes):
    """What one run of the hostile server got out of the node."""
    place = machines.folder / name
    file = machines.folder / f"{name}.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in (wishes | {"run.folder": str(place)}).items()))
    machines.start(f"run-{name}", "flwr", "run", app, "here", "-c", file)
    until((place / "replies.json").exists, 200, f"the hostile server of {name} has its replies")
    return json.loads((place / "replies.json").read_text())


def test_what_a_hostile_server_app_gets_from_a_node(tmp_path, model_folder):
    site = Node(tmp_path / "site", model_folder)
    secrets = tmp_path / "secrets.json"
    secrets.write_text('["under the mat"]')
    attacks = {
        "label": {"data.label": "ssn"},
        "file": {"data.labels": str(secrets)},
        "missing": {"data.labels": str(tmp_path / "missing.json")},
        "head": {},
        "figures": {"privacy.share-metrics": True, "train.steps": 1},
        "unit": {"privacy.unit": "none"},
        "source": {"data.source": "file:/etc/passwd"},
    }
    app = app_of(tmp_path / "hostile-app")
    with Machines(tmp_path) as machines:
        machines.link()
        machines.node(0, 1, f'policy="{site.policy}" data-path="{site.data}"')
        found = {name: replies(machines, app, name, site.wishes | wishes) for name, wishes in attacks.items()}
    told = json.dumps(found)
    for row in site.rows:
        assert row["ssn"] not in told
        assert row[TEXT] not in told
    for word in (UNLISTED, "under the mat", "patient", "root:", site.data.name, str(site.folder)):
        assert word not in told
    assert ClientCard.from_text(found["label"]["join"]["report/card"]).labels == LABELS
    assert found["file"] == found["missing"]
    assert found["file"].keys() == found["source"].keys() == found["unit"].keys() == {"join"}
    measured = found["head"]["evaluate"]
    assert measured["report/status"] == "done"
    assert all(value != int(value) for name, value in measured.items() if name.startswith("metrics/"))
    assert found["head"]["again"] == measured
    assert {name for name in found["head"]["train"] if name.startswith("metrics/")} == {"metrics/steps"}
    assert "join" in found["figures"]
    assert not any(name.startswith("metrics/") for reply in found["figures"].values() for name in reply)
