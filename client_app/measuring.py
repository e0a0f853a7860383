"""Measuring a model on what a client holds out; and the client's own model, where a method leaves it one."""

import numpy as np
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from flwr.common.logger import log

from bract.adapter.layout import Parts
from bract.errors import BractError
from bract.files import home
from bract.models.lora_model import Classifier
from bract.results.export import Export
from bract.tasks.classification import Measured, losses, measure, pad_id
from bract.wire.messages import METRICS, REPORT
from bract.wire.plan import Plan
from client_app.client import Client
from client_app.privacy.budget import abstained, require_answered
from client_app.request import decode, kept_before, lay_in, parts_of
from client_app.training.loop import Phase, train

WARNING = 30


def evaluate(client: Client, content: RecordDict) -> RecordDict:
    """Measure the model that the plan describes on this client's held-out part."""
    request = decode(content, client.layout, client.rank, client.partition)
    plan = request.plan
    kept = kept_before(plan, client.partition, client.layout, plan.round + 1)
    if kept.round and client.private:
        require_answered(client.account, plan.federation, kept.round)
    model = client.model()
    lay_in(model, client.layout, request, kept, client.first())
    measured = measure(model, client.shard.holdout) if len(client.shard.holdout) else None
    if plan.keeps and plan.round == client.settings.rounds:
        export(client, model, plan, measured)  # what was measured before it is what the server hears of
    if measured is None:
        return abstained("it holds no examples out")
    metrics: dict[str, float] = {
        "examples": measured.examples,
        "correct": measured.correct,
        "loss": measured.loss,
    }
    return RecordDict({REPORT: ConfigRecord({"status": "done"}), METRICS: MetricRecord(dict(metrics))})


def export(client: Client, model: Classifier, plan: Plan, measured: Measured | None) -> None:
    """Write the client's own model to its own disk, readable by its owner alone.

    What stays here is trained once more first, where a directive says so: nothing that is computed from it leaves, and
    the client's state keeps what the rounds left, so that a run may go on.
    """
    for steps in [directive.afterwards() for directive in plan.do]:
        if steps and len(client.shard.train):
            measured = personalised(client, model, plan, steps, measured)
    accuracy = measured.correct / measured.examples if measured else None
    folder = home() / "personal" / plan.federation / str(client.partition)
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    found = Export(
        client.settings,
        client.layout,
        client.labels.names,
        client.shape.pooling,
        client.clients,
        plan.keeps,
        personal=True,
    )
    found.write(folder, parts_of(model, client.layout), accuracy)


def personalised(
    client: Client, model: Classifier, plan: Plan, steps: int, measured: Measured | None
) -> Measured | None:
    """Train what stays here once more, and measure it. A fault is told here alone: it too would be a release."""
    before: Parts = {part: model.get(part) for part in plan.keeps}
    try:
        train(
            model,
            client.shard.train,
            client.settings.train,
            Phase(plan.keeps, steps),
            client.rng(plan.round, 3),
            losses=losses,
            pad=pad_id(client.shape.place),
        )
        if not all(np.isfinite(model.get(part)).all() for part in plan.keeps):
            raise BractError("it diverged; try a smaller train.lr")
        return measure(model, client.shard.holdout) if measured else None
    except Exception as error:
        log(WARNING, "client %s: no personal phase: %s", client.partition, error)
        for part, vector in before.items():
            model.set(part, vector, client.layout)
        return measured
