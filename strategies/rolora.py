"""RoLoRA: B and A train in turn, a round each.

Chen et al., "Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA",
https://arxiv.org/abs/2502.01755 (first as arXiv 2409.02346)

    odd rounds     B <- sum_k p_k B_k,  A as it is
    even rounds    A <- sum_k p_k A_k,  B as it is          p_k = n_k / sum_j n_j

Guaranteed: the mean is exact in every round, as the factor that rests is common to all:
sum_k p_k B_k A = (sum_k p_k B_k) A, and so for A. Up goes one factor, half of FedIT's traffic. Down go
both (but for round 1): clients keep no copy, so one that was away misses nothing.

Chosen here: odd rounds train B, since with B = 0 A has no gradient; p_k are example counts, where
the paper takes a plain mean (`strategy.weights = uniform`).
"""

from bract.wire.plan import Plan
from strategies.base import FederatedLora
from strategies.federation import Member


class RoLoRA(FederatedLora):
    """B, then A, in turn."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Train the round's factor; the other rests."""
        return self.in_turn(server_round, member)
