"""Bract: federated LoRA fine-tuning for data that may not leave its owners."""

from typing import TYPE_CHECKING

from bract.version import version

if TYPE_CHECKING:
    from bract.results.predictor import Predictor

__version__ = version()


def load(folder: str) -> "Predictor":
    """The model that a run exported: `bract.load(FOLDER).predict(texts)`."""
    from bract.results.predictor import Predictor

    return Predictor.load(folder)
