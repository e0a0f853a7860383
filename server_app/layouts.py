"""A model's layout for `bract plan`: kept from the last time, as importing torch takes longer than all the rest."""

import hashlib
import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bract.adapter.layout import Layout
from bract.errors import BractError
from bract.files import home, write_json
from bract.models import base_model
from bract.settings.schema import Settings
from bract.tasks.registry import task_of

DECIDES = ("config.json", "modules.json", "1_Pooling/config.json")  # files of a model that its layout follows from


def layout_of(settings: Settings, outputs: int) -> tuple[Layout, str]:
    """The adapter's layout, and how the head starts (`random` or `labels`).

    Kept under what it follows from: the model's own description, the settings of the adapter, the versions of the
    libraries. What is kept and cannot be read is made again.
    """
    path = home() / "cache" / f"layout-{_key(settings, outputs)}.json"
    if path.is_file():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return Layout.from_json(kept["layout"]), str(kept["head_init"])
        except (OSError, ValueError, KeyError, TypeError, BractError):
            pass  # it is made again
    from bract.models.lora_model import build, shape

    found = shape(settings, outputs, task_of(settings.model.task).auto_class)
    layout = build(found, meta=True).layout
    with suppress(OSError):  # then the next time takes as long
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"layout": layout.to_json(), "head_init": found.head_init})
    return layout, found.head_init


def _key(settings: Settings, outputs: int) -> str:
    place = base_model.locate(settings.model.name)
    files = [base_model.find(place, name) for name in DECIDES]
    parts = [
        place,
        str(settings.model),
        str(settings.lora),
        str(outputs),
        *(_version(name) for name in ("bract", "peft", "transformers", "torch")),
        *("" if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
