"""FedSA-LoRA: A is shared; B, and the head, stay with the client: personal models.

Guo et al., "Selective Aggregation for Low-Rank Adaptation in Federated Learning", ICLR 2025,
https://arxiv.org/abs/2410.01463

    A <- sum_k p_k A_k          B_k, head_k: trained by client k, kept by client k          p_k = n_k / sum_j n_j

`lora.variant = rslora` (scale alpha / √r) is the paper's FedSA-rsLoRA; `vera` its FedSA-VeRA: on frozen random
matrices the vector lambda_d is shared and lambda_b stays. (That this is how they are divided is read off
the authors' code, which freezes lambda_d where it freezes A.)

Guaranteed: no value of B or of a local head is in any message. They are on the client's disk, before its
reply leaves; a client that was not sampled keeps its old ones, and measuring uses each client's own. One that has lost
them says so and fails, and does not begin again in silence.
Not guaranteed: that they tell nothing: the A that is sent was trained with them. There is no single
global model: what the server exports has B = 0, and accuracy is that of the clients' own models.

Left open, chosen here:
- The head is local and trained (`lora.head = auto`), as in the authors' configuration.
- p_k are example counts; the authors' code weighs by examples processed, which is `uniform` for equal steps.
- Measuring is on texts with the client's own mix of labels. The authors' code splits its validation data by an
  independent draw: `data.holdout-mix = independent`.
- The authors' released configuration keeps no B per client: one model object passes from client to client, each
  starts from the last one's B and head, and all are measured with the last. `strategy.local-b = passed` does
  that, to compare; B and the head then travel, and a round's clients train one after the other.
"""

from dataclasses import replace

from bract.adapter.layout import Part
from bract.wire.payload import Payload
from bract.wire.plan import Plan
from strategies.aggregation import Merger, WeightedMean
from strategies.base import FederatedLora
from strategies.federation import Federation, Member


class FedSALoRA(FederatedLora):
    """A is shared, the rest is the client's."""

    def __init__(self, federation: Federation) -> None:
        super().__init__(federation)
        self.one_by_one = federation.strategy.local_b == "passed"

    def plan(self, server_round: int, member: Member) -> Plan:
        """Train A, B and the head; send A."""
        plan = self.factors(server_round, member, "A", "B")
        if self.one_by_one:
            head: tuple[Part, ...] = ("head",) if self.federation.layout.head else ()
            return replace(plan, sends=("A", "B", *head), receives=("A", "B", *head), keeps=())
        return replace(
            plan,
            sends=tuple(part for part in plan.sends if part != "B"),
            receives=tuple(part for part in plan.receives if part != "B"),
            keeps=("B", *plan.keeps),
        )

    def merger(self, plan: Plan) -> Merger:
        """A mean of what is shared; what passes from client to client is none."""
        return WeightedMean(self.federation.layout, ["A"] if self.one_by_one else plan.sends)

    def taken(self, plan: Plan, payload: Payload) -> None:
        """The next client starts from this one's B and head, where they pass."""
        if self.one_by_one:
            self._arrays = {**self._arrays, **{p: v for p, v in payload.parts.items() if p != "A"}}
            self._packed = {}
