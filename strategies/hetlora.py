"""HetLoRA: each client has the rank its device can carry, prunes it itself, and weighs by what it learned.

Cho et al., "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models", EMNLP
2024, https://arxiv.org/abs/2401.06432

    down      client k gets the first r_k ranks of A and B
    train     minimise F_k + lambda ‖B_k[:, c:]‖ ‖A_k[c:, :]‖,  c = max(floor(gamma r_k), r_min)
    prune     if ‖B_k[:, c:]‖ ‖A_k[c:, :]‖ is smaller than it was when it came down:  r_k <- c
    merge     A <- sum_k w_k pad(A_k),  B <- sum_k w_k pad(B_k),  w_k = ‖B_k A_k‖_F / sum_j ‖B_j A_j‖_F

Guaranteed: no client trains or sends more ranks than it carries; its rank only shrinks, and is kept on its own
disk, before its reply leaves. It is sent the ranks that the server last heard of, which are more than it
carries only where the reply that told of a pruning was lost. The scale alpha / lora.rank is one number for all
clients, whatever their rank.
Padding counts as zero in the mean, so ranks that few clients carry are held down by those who do not: that is
the rule. With all products zero (nobody learned anything) all weigh the same.

Not guaranteed: exactness. A and B are averaged apart, as in FedIT, and example counts play no part in the weights
(`strategy.weights = examples` changes that). Nor is there a bound on one client's weight: who sends large values
weighs much, so all clients must be trusted to follow the rule.

Left open by what is known of the paper, chosen here: the tail that is penalised and compared begins no lower than
r_min, so that exactly what would go is judged; norms are over all modules together, of the tail as of
the weights; the penalty's lambda is `strategy.penalty` = 0.01 (a re-implementation's value); the tail's size is
compared with that of what came down to this client, so in round 1, with B = 0, nothing can be pruned.

A client measures the model that it could carry: the first r_k ranks. The exported one has all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flwr.app import ArrayRecord, Message, MetricRecord

from bract.directives.prune import Prune
from bract.wire.plan import Plan
from strategies.base import FederatedLora
from strategies.federation import Federation, Member


class HetLoRA(FederatedLora):
    """Both factors, as many ranks as the client has left."""

    weights = "norm"

    def __init__(self, federation: Federation) -> None:
        super().__init__(federation)
        self._ranks: dict[int, int] = {}  # what each client was left with, by its last reply

    def plan(self, server_round: int, member: Member) -> Plan:
        """Train and send the ranks that the client carries; it may prune them."""
        layout, choices = self.federation.layout, self.federation.strategy
        rank = self._ranks.get(member.partition, int(min(member.rank, layout.rank)))
        plan = self.factors(server_round, member, "A", "B")
        prune = Prune(choices.gamma, choices.penalty, choices.min_rank)
        return replace(plan, slots=tuple(layout.first(rank).tolist()), do=(*plan.do, prune))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge, and note the ranks that are left."""
        merged = super().aggregate_train(server_round, replies)
        self._ranks |= {row.partition: int(row.rank) for row in self.rows if row.rank is not None}
        return merged

    def memory(self) -> dict[str, Any]:
        """The ranks that are left, by client."""
        return super().memory() | {"ranks": {str(partition): rank for partition, rank in sorted(self._ranks.items())}}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up the ranks again."""
        super().recall(memory)
        self._ranks = {int(partition): int(rank) for partition, rank in memory.get("ranks", {}).items()}
