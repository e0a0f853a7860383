"""A member's contribution to a round's sum, from the message to the masked words that leave.

check -> load -> charge -> measure -> train -> whole numbers, noise -> mask -> keep -> send
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from bract.adapter.layout import Part
from bract.directives.directive import Slots
from bract.errors import BractError, PublicError, public
from bract.log import log
from bract.privacy.discrete_gaussian import discrete_gaussian
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.secure_sum import vector
from bract.secure_sum.masks import mask
from bract.secure_sum.rounds import (
    mechanism_of,
    narrow,
)
from bract.secure_sum.vector import Words
from bract.tasks.tokens import pad_id
from bract.wire.messages import HOLDOUT, PAYLOAD, REPORT, SUM, payload_record
from client_app.client import Client
from client_app.engine.independence import require_independent
from client_app.privacy.budget import Private, abstained, charged, packed, unpacked
from client_app.privacy.requests import digest_of
from client_app.request import decode, load_parts, own_state, parts_of
from client_app.rounds.figures import Measured, measured
from client_app.rounds.local_round import LocalRound, changes, declined, require_same_unit, select
from client_app.rounds.measuring import export, require_as_set
from client_app.rounds.place import Asked, Place
from client_app.secure_sum.memory import Agreed, Memory
from client_app.training.loop import Phase, clipped_sum

WARNING = 30

Integers = NDArray[np.int64]


def contribute(client: Client, content: RecordDict) -> RecordDict:
    """A member's reply in a round: its masked words, or why there are none.

    Guaranteed: before anything is computed the round is written down, with what was asked; it is answered once, and
    asked again with the very same bytes. Another request for the same number, or for an older one, is refused.
    """
    request = decode(content, client.layout, client.rank, client.partition)
    if SUM not in content.config_records:
        raise PublicError("federation.sum: the message is not one of a secure sum")
    memory = Memory(request.plan.federation, client.partition)
    with memory.alone():
        agreed = memory.agreed()
        record = content.config_records[SUM]
        if agreed is None or not agreed.print or agreed.print != record.get("print"):
            return abstained("it has not agreed on this set-up, or has lost it")
        with public():
            asked = Asked.of(content, agreed, client)
        place = Place(client, agreed, asked, request, content)
        if asked.number < memory.newest().number:
            return too_old(memory)
        newest = memory.newest()
        digest = digest_of(content)
        if newest.number == asked.number and newest.request != digest:
            return too_old(memory)
        newest = memory.start(asked.number, digest, asked.members)
        kept = memory.reply(asked.number)
        reply = _made(place) if kept is None else unpacked(kept)
        if kept is None:
            memory.keep_reply(asked.number, packed(reply))  # first: what is marked as sent can be sent again
        if not newest.context:  # also where this process was killed after the reply was kept
            memory.note(replace(newest, context=place.context.digest.hex(), sent=PAYLOAD in reply))
    return reply


def too_old(memory: Memory) -> RecordDict:
    """Not a round to answer: its number was used for another request, or is behind the newest, which it says."""
    found = abstained("it was asked for this round otherwise, or for a newer one, before")
    found.config_records[REPORT]["newest"] = memory.newest().number
    return found


def _made(place: Place) -> RecordDict:
    """The reply."""
    client, plan = place.client, place.plan
    require_as_set(client, plan)
    net = client.model()
    with own_state(plan, client.partition, client.layout) as kept:
        require_same_unit(client, kept)
        carried = load_parts(net, client.layout, place.request, kept, client.first())
        figures = measured(place, net)
        if not plan.trains:
            if plan.keeps and plan.round == client.settings.rounds + 1:  # after the last one that trains
                export(client, net, plan)
            reply = RecordDict({REPORT: ConfigRecord({"status": "done"})})
            return _masked(place, reply, np.zeros(0, dtype=np.int64), 0, figures)
        if why := declined(client, plan):
            return abstained(why)
        return _trained(place, LocalRound(client, plan, net, carried), figures)


def _trained(place: Place, local: LocalRound, figures: Measured) -> RecordDict:
    """The reply of a round that trains, charged where that costs privacy."""
    client, settings = place.client, place.client.settings
    privacy, per_person = settings.privacy, settings.privacy.per_person if settings.privacy.unit == "person" else 0

    def plain() -> RecordDict:
        values, weight = weighted_change(place, local)
        return _masked(place, RecordDict({REPORT: ConfigRecord({"status": "done"})}), values, weight, figures)

    def work(mechanism: Mechanism, noise: SecureNoise) -> RecordDict:
        values, weight = np.zeros(0, dtype=np.int64), 0
        if privacy.unit == "client":
            values = client_change(place, local, mechanism, noise)
        else:
            private = replace(local, private=Private(mechanism, noise, privacy.clip_groups, per_person))
            if privacy.noise == "shared":
                values = gradients(place, private, noise)
            else:
                values, weight = weighted_change(place, private)
        return _masked(place, RecordDict({REPORT: ConfigRecord({"status": "done"})}), values, weight, figures)

    if privacy.unit == "none":
        return plain()
    if privacy.unit == "client":
        members = len(place.agreed.keys)
        return charged(place.account, "train", place.content, place.plan, lambda: mechanism_of(settings, members), work)
    require_independent(local.model, pad=pad_id(client.shape.place))
    return charged(place.account, "train", place.content, place.plan, lambda: place.account.training(place.plan), work)


def weighted_change(place: Place, local: LocalRound) -> tuple[Integers, int]:
    """What training changed, times the client's weight, and that weight."""
    before, after, slots, trained = changes(local)
    client, plan = place.client, place.plan
    counted = client.settings.privacy.unit == "none" and client.settings.strategy.weights in ("auto", "examples")
    weight = trained.examples if counted else 1
    dense = _dense(place, {part: after[part].astype(np.float64) - before[part] for part in plan.sends}, slots)
    with public():
        return place.sum.grid.encode(weight * dense), weight


def gradients(place: Place, local: LocalRound, noise: SecureNoise) -> Integers:
    """The clipped gradients of one draw, at the model that came down, with this member's share of the noise."""
    client, private = place.client, local.private
    assert private is not None  # noqa: S101 - it is called where examples are protected
    slots = select(local, parts_of(local.model, client.layout))
    found = clipped_sum(
        local.model,
        client.shard.train,
        client.settings.train,
        Phase(place.plan.trains, 1, slots),
        losses=client.task.losses,
        pad=pad_id(client.shape.place),
        private=private,
    )
    dense = _dense(place, {part: found[part] for part in place.plan.sends}, slots)
    return _with_noise(place, place.sum.grid.encode(dense), noise, private.mechanism.sigma)


def client_change(place: Place, local: LocalRound, mechanism: Mechanism, noise: SecureNoise) -> Integers:
    """The whole update, clipped, if this member's own secret coin takes it into the sample; and its share of the noise.

    It trains in any case: an answer that comes at once would tell that it was not drawn.
    """
    drawn, dense = bool(len(mechanism.sample(noise, 1))), np.zeros(place.sum.values)
    try:
        before, after, slots, _ = changes(local)
        found = _dense(place, {p: after[p].astype(np.float64) - before[p] for p in place.plan.sends}, slots)
        dense = found * (mechanism.scale(float(np.linalg.norm(found))) if drawn else 0.0)
    except BractError as error:  # that training failed would tell something of this client: it sends noise alone
        log(WARNING, "client %s learned nothing in this round: %s", place.client.partition, error)
    return _with_noise(place, place.sum.grid.encode(dense), noise, mechanism.sigma)


def _with_noise(place: Place, values: Integers, noise: SecureNoise, sigma: float) -> Integers:
    if not place.shares_noise and narrow(place.client.settings):
        raise PublicError(
            "wire.codec = 'float16': words of 16 bits have no room for all of the noise, which this node adds"
        )
    deviation = place.share(sigma * place.sum.sensitivity)
    return values + discrete_gaussian(noise, deviation, len(values))


def _dense(place: Place, vectors: dict[Part, NDArray[np.float64]], slots: Slots | None) -> NDArray[np.float64]:
    """All parts that travel as one vector over the sum's slots; zeros where this member did not select."""
    layout, union = place.client.layout, place.asked.union
    if slots is not None and union is not None and not np.isin(slots, union).all():
        raise PublicError("this member selects slots that the sum does not have")
    found = []
    for part in place.plan.sends:
        vector = vectors[part]
        if slots is not None and part != "head":
            kept = np.zeros_like(vector)
            where = layout.positions(part, slots)
            kept[where] = vector[where]
            vector = kept
        found.append(vector if union is None or part == "head" else vector[layout.positions(part, union)])
    return np.concatenate(found) if found else np.zeros(0)


def _masked(place: Place, reply: RecordDict, values: Integers, weight: int, measured_: Measured) -> RecordDict:
    """The reply with its words, under masks unless the run is one without."""
    client, agreed, shape = place.client, place.agreed, place.shape
    if not place.plan.trains:
        values = np.zeros(shape.values, dtype=np.int64)
    words = Words.of(shape, values, [weight, *measured_.figures.values()])
    if client.settings.federation.sum == "secure":
        number, secrets = place.asked.number, agreed.secrets
        others = agreed.shares_with(place.mine, place.asked.members)
        publics = _publics(agreed, number, others)
        mask(words, place.context, place.mine, secrets.mask(number), secrets.own(number), others, publics)
    reply[PAYLOAD] = payload_record(vector.packed(words, place.asked.number))
    if measured_.spent is not None:
        reply[HOLDOUT] = measured_.spent
    return reply


def _publics(agreed: Agreed, number: int, members: Iterable[int]) -> dict[int, bytes]:
    at = number - agreed.parameters.first
    return {member: agreed.key_of(member).masks[at] for member in members}
