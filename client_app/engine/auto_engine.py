"""Which engine trains, and why."""

import logging
from functools import lru_cache

from bract.errors import BractError
from bract.log import log
from bract.models.lora_model import LoraModel
from bract.settings.schema import TrainSettings
from bract.tasks.task import Losses
from client_app.engine.engine import Engine
from client_app.engine.flat_buffer import FlatBuffer
from client_app.engine.fused import FusedEngine
from client_app.engine.kernels import fastest
from client_app.engine.supported import why_unsupported


def select_engine(settings: TrainSettings, model: LoraModel, flat: FlatBuffer, *, losses: Losses, pad: int) -> Engine:
    """The engine that `train.engine` names; `auto` is the fused one wherever it is exact."""
    wanted = settings.engine
    if wanted == "opacus":
        _log_once("training by Opacus and autograd, as train.engine says")
        return _opacus(settings, model, flat, losses, pad)
    why = why_unsupported(model, flat)
    if why and wanted == "fused":
        raise BractError(f"train.engine = 'fused' cannot train this exactly: {why}; auto or opacus can")
    if why:
        _log_once(f"training by Opacus and autograd: {why}")
        return _opacus(settings, model, flat, losses, pad)
    kernel = fastest(flat.device, flat.dtype, model.width, settings.precision)
    _log_once(f"training by the fused engine; matrix products by {kernel.name}: {kernel.why}")
    return FusedEngine(model, flat, kernel, losses=losses, pad=pad)


def _opacus(settings: TrainSettings, model: LoraModel, flat: FlatBuffer, losses: Losses, pad: int) -> Engine:
    handlers = list(logging.root.handlers)
    from client_app.engine.opacus import OpacusEngine  # Opacus is seldom needed

    logging.root.handlers = handlers  # importing it sets up logging, and every line of Flower's would come twice
    if settings.precision != "float32":
        _log_once(f"train.precision = {settings.precision!r} is the fused engine's; this one computes in float32")
    return OpacusEngine(model, flat, losses=losses, pad=pad)


@lru_cache(maxsize=16)
def _log_once(line: str) -> None:
    """Once in a process."""
    log(logging.INFO, line)
