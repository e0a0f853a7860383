"""One local round, from a message's content to the reply's: the way that a client's data walks, from top to bottom.

    decode -> load -> budget -> select -> train -> finish -> keep -> encode

What a client does beyond training the parts of its plan, the plan's directives do; no method is known here.
"""

from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from bract.adapter.layout import Parts
from bract.directives.directive import Directive, Finish, Probed, Selection, Slots
from bract.errors import PublicError
from bract.models.lora_model import LoraModel
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.settings.steps import Steps, steps_in_round
from bract.tasks.tokens import pad_id
from bract.wire.messages import METRICS, PAYLOAD, REPORT, payload_record
from bract.wire.payload import Payload, pack
from bract.wire.plan import Plan
from client_app.client import Client
from client_app.engine.independence import require_independent
from client_app.privacy.budget import Private, abstained, charged
from client_app.request import decode, load_parts, own_state, parts_of
from client_app.state import ClientState, Kept
from client_app.training.loop import Phase, Trained, train

UNIT = "unit"  # of what was kept, among the notes: under what it was trained


@dataclass(frozen=True)
class LocalRound:
    """What a local round stands on, once its message was read."""

    client: Client
    plan: Plan
    model: LoraModel
    carried: Slots | None  # the slots that the client has (None: all)
    private: Private | None = None  # how each example is protected, once that was charged


def train_round(client: Client, content: RecordDict) -> RecordDict:
    """Train as a message asks. Nothing is charged for a message that cannot be obeyed."""
    request = decode(content, client.layout, client.rank, client.partition)
    plan = request.plan
    if why := declined(client, plan):
        return abstained(why)
    model = client.model()
    with own_state(plan, client.partition, client.layout) as kept:
        require_same_unit(client, kept)
        carried = load_parts(model, client.layout, request, kept, client.first())
        if not client.private:
            return walk(LocalRound(client, plan, model, carried))
        require_independent(model, pad=pad_id(client.shape.place))
        account, privacy = client.account, client.settings.privacy
        per_person = privacy.per_person if privacy.unit == "person" else 0

        def work(mechanism: Mechanism, noise: SecureNoise) -> RecordDict:
            private = Private(mechanism, noise, privacy.clip_groups, per_person)
            return walk(LocalRound(client, plan, model, carried, private))

        return charged(account, "train", content, plan, lambda: account.training(plan), work)


def require_same_unit(client: Client, kept: Kept) -> None:
    """PublicError where what this client kept was trained under another promise than it makes now."""
    if client.private and kept.notes.get(UNIT, client.settings.privacy.unit) != client.settings.privacy.unit:
        raise PublicError("what this client kept was trained under another privacy.unit; start a new run")


def declined(client: Client, plan: Plan) -> str:
    """Why the client does not take part, in words that tell nothing of its data; empty if it does."""
    if not plan.trains:
        raise PublicError("the plan trains nothing")
    unpaid, unit = [d.name for d in plan.do if d.reads == "data" and not d.afterwards()], client.settings.privacy.unit
    if client.private and unpaid:
        raise PublicError(f"the plan's {unpaid[0]} reads the data itself, which privacy.unit = {unit} does not cover")
    if not client.records:
        return "it has no examples to train on"
    charges = client.private or client.settings.privacy.noise == "shared"
    if client.policy is None and client.limit is not None and not charges:  # a policy names the unit itself
        return f"its node has a privacy-limit, and this run has privacy.unit = {unit}, not example"
    return ""


def walk(local: LocalRound) -> RecordDict:
    """Train what was loaded, keep what stays, and make the reply."""
    return encode(local, *changes(local))


def changes(local: LocalRound) -> tuple[Parts, Parts, Slots | None, Trained]:
    """Train what was loaded and keep what stays: the parts before and after, the slots that travel, and the figures."""
    plan, layout, model = local.plan, local.client.layout, local.model
    before, steps = parts_of(model, layout), count_steps(local)
    slots = select(local, before)
    trained = fit(local, slots, steps.training)
    after: Parts = {part: model.get(part) for part in {*plan.trains, *plan.sends, *plan.keeps}}
    for part, vector in after.items():
        if not np.isfinite(vector).all():
            raise PublicError(f"training diverged: {part} is no longer finite; try a smaller train.lr")
    finished = finish(local, slots, before, after)
    keep(local, after, finished)
    return before, after, finished.slots, trained


def count_steps(local: LocalRound) -> Steps:
    """Those of the mechanism, which were charged; without privacy, as the settings say."""
    if local.private is not None:
        mechanism = local.private.mechanism
        return Steps(mechanism.before, mechanism.steps - mechanism.before)
    settings = local.client.settings.train
    return steps_in_round(settings, local.client.records, local.plan.do, private=False)


def select(local: LocalRound, before: Parts) -> Slots | None:
    """The slots that train and travel, by the directives that decide it; the model stands where training starts."""
    client, layout, model, slots = local.client, local.client.layout, local.model, local.carried
    train_settings, examples = client.settings.train, client.records

    for directive in local.plan.do:

        def probe(*, gradients: bool, directive: Directive = directive) -> Probed:
            count = steps_in_round(train_settings, examples, [directive], private=client.private).before
            found = fit(local, local.carried, count, stream=2, gradients=gradients, shaped=False)
            return Probed(parts_of(model, layout), found.gradients)

        found: Selection = directive.select(layout, local.plan.scope(layout.slots), before, slots, probe)
        slots = found.slots
        for part, vector in found.start.items():
            model.set(part, vector, layout)
    return slots


def fit(
    local: LocalRound,
    slots: Slots | None,
    steps: int,
    *,
    stream: int = 0,
    gradients: bool = False,
    shaped: bool = True,
) -> Trained:
    """Train the plan's parts in place on this client's examples."""
    client, plan = local.client, local.plan
    shapings = [d.shaping(client.layout, slots) for d in plan.do] if shaped else []
    return train(
        local.model,
        client.shard.train,
        client.settings.train,
        Phase(plan.trains, steps, slots, [shaping for shaping in shapings if shaping is not None], gradients),
        client.rng(plan.round, stream),
        losses=client.task.losses,
        pad=pad_id(client.shape.place),
        private=local.private,
    )


def finish(local: LocalRound, slots: Slots | None, before: Parts, after: Parts) -> Finish:
    """The slots that are left, and what directives want to remember."""
    notes: dict[str, str] = {}
    for directive in local.plan.do:
        found = directive.finish(local.client.layout, slots, before, after)
        slots, notes = found.slots, {**notes, **found.notes}
    return Finish(slots, notes)


def keep(local: LocalRound, after: Parts, finished: Finish) -> None:
    """What stays with the client is on its disk before the reply leaves."""
    plan = local.plan
    if plan.remembers:
        state = ClientState(plan.federation, local.client.partition)
        notes = {**finished.notes, UNIT: local.client.settings.privacy.unit}
        state.save(local.client.layout, plan.round, Kept({part: after[part] for part in plan.keeps}, notes))


def encode(local: LocalRound, before: Parts, after: Parts, slots: Slots | None, trained: Trained) -> RecordDict:
    """What leaves. Exact counts, losses, the head's share and times are the examples' own: no noise is on them."""
    client, plan = local.client, local.plan
    sent: Parts = {
        part: client.layout.cut(part, after[part] - before[part] if plan.changes else after[part], slots)
        for part in plan.sends
    }
    data = pack(client.layout, Payload(plan.round, sent, slots), client.settings.wire.codec, client.rng(plan.round, 1))
    metrics: dict[str, float] = {"steps": trained.steps}
    if client.tells_time:
        metrics["seconds"] = trained.seconds
    privacy = client.settings.privacy
    if privacy.unit == "none" or privacy.share_metrics:
        metrics |= {"examples": trained.examples, "loss": trained.loss}
        if client.private:
            metrics["head_share"] = trained.head_share
    return RecordDict(
        {
            REPORT: ConfigRecord({"status": "done"}),
            PAYLOAD: payload_record(data),
            METRICS: MetricRecord(dict(metrics)),
        }
    )
