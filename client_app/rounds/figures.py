"""What a member of a sum tells of the examples that it holds out: a part of the sum, which no one sees alone."""

from dataclasses import dataclass

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from bract.models.lora_model import LoraModel
from bract.privacy.discrete_gaussian import discrete_gaussian
from bract.privacy.mechanism import Mechanism
from bract.privacy.noise import SecureNoise
from bract.secure_sum.rounds import FIGURE, Figures, exact_figures, figure_names, in_steps
from bract.tasks.task import summed
from bract.wire.messages import METRICS, PRIVACY, REPORT
from client_app.privacy.budget import charged
from client_app.privacy.measuring import clipped_total
from client_app.rounds.place import Place


@dataclass(frozen=True)
class Measured:
    """A member's figures as whole numbers, and what its ledger says of measuring, where that costs privacy."""

    figures: Figures
    spent: ConfigRecord | None = None


def measured(place: Place, net: LoraModel) -> Measured:
    """Figures of the model that came down, on what this member holds out: parts of a sum, which no one sees alone."""
    client, task = place.client, place.client.task
    names = figure_names(task)
    nothing = Measured(dict.fromkeys(names, 0))
    if not place.asked.measure or client.measuring == "nothing" or not client.settings.data.holdout:
        return nothing
    held = client.shard.holdout
    if client.measuring == "exact":
        sums = summed(task.measure(net, held)) if len(held) else dict.fromkeys(names, 0.0)
        return Measured(exact_figures({name: float(sums[name]) for name in names}, task))
    account, persons = place.account, client.settings.privacy.unit == "person"

    def work(mechanism: Mechanism, noise: SecureNoise) -> RecordDict:
        steps = in_steps(clipped_total(task, net, held, persons=persons))
        deviation = place.share(mechanism.deviation * FIGURE)  # by rounding nothing moves a sum by more than it did
        noisy = steps + discrete_gaussian(noise, deviation, len(steps))
        found = {name: int(value) for name, value in zip(names, noisy, strict=True)}
        return RecordDict({REPORT: ConfigRecord({"status": "done"}), METRICS: MetricRecord(found)})  # type: ignore[arg-type]  # ints are fine

    reply = charged(account, "holdout", place.content, place.plan, lambda: account.measuring(len(names)), work)
    if METRICS not in reply:
        return nothing
    metrics = reply.metric_records[METRICS]
    return Measured({name: int(metrics[name]) for name in names}, reply.config_records[PRIVACY])  # type: ignore[arg-type]  # it was made here
