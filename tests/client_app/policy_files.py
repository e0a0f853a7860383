"""Policies for nodes with data of their own."""

import json

from bract.models import base_model
from tests.harness import TEXTS

# What lets a run with a tiny model and without privacy take place.
OPEN = {"privacy.unit": "none", "privacy.measuring": "exact", "privacy.exact-metrics": True}


def write_policy(path, model, data, **more):
    """A policy of these words for a tiny model."""
    words = {"data.path": str(data), "data.name": path.stem, "data.labels": list(TEXTS), **more}
    tables = {}
    for word, value in words.items():
        section, name = word.split(".")
        tables.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    place = base_model.locate(str(model))
    tables.setdefault("allow", []).append(f'models = {{ "{model}" = "{base_model.fingerprint(place)}" }}')
    path.write_text("\n".join(f"[{section}]\n" + "\n".join(lines) for section, lines in tables.items()))
    path.chmod(0o600)
    return path
