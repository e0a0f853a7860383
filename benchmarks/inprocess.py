"""A whole run in one process, without Flower's transport: ClientApp and strategy as they are, on one core."""

import contextlib
import io
import logging
from typing import Any
from unittest.mock import patch

import torch
from flwr.app import MetricRecord

from bract.results.run_folder import RunFolder
from bract.settings.read import read
from bract.settings.schema import Settings
from server_app.checkpoint import Checkpoint
from server_app.rounds import Rounds, run
from tests.harness import InProcessGrid


def run_in_process(nodes: int, values: dict[str, Any]) -> RunFolder:
    """Its run folder. Clients' held-out texts are measured after the last round alone."""
    torch.set_num_threads(1)
    before = logging.root.manager.disable
    config = {**Settings().flat(), **values}
    settings = read(config)
    measure = Rounds._measure

    def last_alone(self: Rounds, state: Checkpoint) -> MetricRecord | None:
        return measure(self, state) if state.round == settings.rounds else None

    logging.disable(logging.WARNING)
    try:
        with patch.object(Rounds, "_measure", last_alone), contextlib.redirect_stdout(io.StringIO()):
            return run(InProcessGrid(nodes, config), settings)
    finally:
        logging.disable(before)
