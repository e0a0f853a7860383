"""Measuring a model on what a client holds out; and the client's own model, where a method leaves it one."""

import numpy as np
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from bract.adapter.layout import Parts
from bract.errors import BractError, PublicError
from bract.files import home
from bract.log import log
from bract.models.lora_model import LoraModel
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.results.export import Export
from bract.tasks.task import Sums, summed
from bract.tasks.tokens import pad_id
from bract.wire.messages import METRICS, REPORT
from bract.wire.plan import Plan
from client_app.client import Client
from client_app.privacy.budget import abstained, charged, require_answered
from client_app.privacy.measuring import noisy_sums
from client_app.request import decode, kept_before, load_parts, parts_of
from client_app.training.loop import Phase, train

WARNING = 30


def evaluate(client: Client, content: RecordDict) -> RecordDict:
    """Measure the model that the plan describes on this client's held-out part, and tell as much as it may tell."""
    if client.settings.federation.sum != "plain":
        raise PublicError("federation.sum: figures leave as parts of a sum alone")
    request = decode(content, client.layout, client.rank, client.partition)
    plan = request.plan
    require_as_set(client, plan)
    kept = kept_before(plan, client.partition, client.layout, plan.round + 1)
    if kept.round and client.private:
        require_answered(client.account, plan.federation, kept.round)
    model = client.model()
    load_parts(model, client.layout, request, kept, client.first())
    reply = told(client, content, plan, model)
    if plan.keeps and plan.round == client.settings.rounds:
        export(client, model, plan)  # after what the server hears of was measured
    return reply


def told(client: Client, content: RecordDict, plan: Plan, model: LoraModel) -> RecordDict:
    """What the server hears: exact sums, noisy ones that are paid for, or nothing."""
    task = client.task
    if client.measuring == "nothing":
        return abstained("it tells nothing of what it holds out")
    if client.measuring == "exact":
        held = client.shard.holdout
        return done(summed(task.measure(model, held))) if len(held) else abstained("it holds no examples out")
    if not client.settings.data.holdout:
        return abstained("it holds no examples out")

    persons, account = client.settings.privacy.unit == "person", client.account

    def work(mechanism: Mechanism, noise: SecureNoise) -> RecordDict:
        return done(noisy_sums(task, model, client.shard.holdout, mechanism, noise, persons=persons))

    return charged(account, "holdout", content, plan, lambda: account.measuring(len(task.sums) + 1), work)


def done(sums: Sums) -> RecordDict:
    """A reply with these sums."""
    return RecordDict({REPORT: ConfigRecord({"status": "done"}), METRICS: MetricRecord(dict(sums))})


def require_as_set(client: Client, plan: Plan) -> None:
    """A personal phase trains unprotected: as the run's settings say, which the statement is made of, or never."""
    asked, told = sum(directive.afterwards() for directive in plan.do), client.settings.strategy.personal_steps
    if asked not in (0, told):
        raise PublicError(f"the plan asks for a personal phase of {asked} steps, strategy.personal-steps is {told}")


def export(client: Client, model: LoraModel, plan: Plan) -> None:
    """Write the client's own model to its own disk, readable by its owner alone.

    What stays here is trained once more first, where a directive says so: nothing that is computed from it leaves, and
    the client's state keeps what the rounds left, so that a run may go on.
    """
    held = client.shard.holdout
    sums = summed(client.task.measure(model, held)) if len(held) else None
    for steps in [directive.afterwards() for directive in plan.do]:
        if steps and len(client.shard.train):
            sums = personalised(client, model, plan, steps, sums)
    task = client.task
    score = task.figures(sums)[task.score] if sums else None
    folder = home() / "personal" / plan.federation / str(client.partition)
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    found = Export(
        client.settings,
        client.layout,
        client.outputs,
        client.shape.pooling,
        client.clients,
        plan.keeps,
        personal=True,
    )
    found.write(folder, parts_of(model, client.layout), score)


def personalised(client: Client, model: LoraModel, plan: Plan, steps: int, sums: Sums | None) -> Sums | None:
    """Train what stays here once more, and measure it. A fault is told here alone: it too would be a release."""
    before: Parts = {part: model.get(part) for part in plan.keeps}
    try:
        train(
            model,
            client.shard.train,
            client.settings.train,
            Phase(plan.keeps, steps),
            client.rng(plan.round, 3),
            losses=client.task.losses,
            pad=pad_id(client.shape.place),
        )
        if not all(np.isfinite(model.get(part)).all() for part in plan.keeps):
            raise BractError("it diverged; try a smaller train.lr")
        return summed(client.task.measure(model, client.shard.holdout)) if sums else None
    except Exception as error:
        log(WARNING, "client %s: no personal phase: %s", client.partition, error)
        for part, vector in before.items():
            model.set(part, vector, client.layout)
        return sums
