"""A client's own model, where a method leaves it one: written to its own disk, and of no interest to the server."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bract.adapter.layout import PARTS, Parts
from bract.errors import BractError
from bract.files import home
from bract.log import log
from bract.models.lora_model import Classifier
from bract.results.export import Export
from bract.tasks.classification import Measured, measure
from bract.wire.plan import Plan

if TYPE_CHECKING:
    from client_app.local_round import Client

WARNING = 30


def export(client: "Client", net: Classifier, plan: Plan, measured: Measured | None) -> None:
    """Write the client's own model to its own disk, readable by its owner alone.

    With `strategy.personal-steps` what stays here is trained once more first, without noise: nothing that is
    computed from it leaves, and the client's state keeps what the rounds left, so that a run may go on.
    """
    if client.settings.strategy.personal_steps and len(client.shard.train):
        measured = personalised(client, net, plan, measured)
    accuracy = measured.correct / measured.examples if measured else None
    folder = home() / "personal" / plan.federation / str(client.partition)
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    parts: Parts = {part: net.get(part) for part in PARTS if part != "head" or client.layout.head}
    found = Export(
        client.settings, client.layout, client.labels.names, client.shape.pooling, client.clients, plan.keeps,
        personal=True,
    )  # fmt: skip
    found.write(folder, parts, accuracy)


def personalised(client: "Client", net: Classifier, plan: Plan, measured: Measured | None) -> Measured | None:
    """Train what stays here once more, and measure it. A fault is told here alone: it too would be a release."""
    before: Parts = {part: net.get(part) for part in plan.keeps}
    steps = client.settings.strategy.personal_steps
    try:
        client.trained(net, replace(plan, trains=plan.keeps), None, steps, None, rng=client.rng(plan.round, 3))
        if not all(np.isfinite(net.get(part)).all() for part in plan.keeps):
            raise BractError("it diverged; try a smaller train.lr")
        return measure(net, client.shard.holdout) if measured else None
    except Exception as error:
        log(WARNING, "client %s: no personal phase: %s", client.partition, error)
        for part, vector in before.items():
            net.set(part, vector, client.layout)
        return measured
