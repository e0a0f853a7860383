"""FFA-LoRA: A is drawn once, the same for all, and frozen; B trains and travels.

Sun et al., "Improving LoRA in Privacy-preserving Federated Learning", ICLR 2024,
https://arxiv.org/abs/2403.12313

    A = A_0 (from the seed)          B <- sum_k p_k B_k          p_k = n_k / sum_j n_j

Guaranteed: the mean is exact. Since A_0 is common, sum_k p_k B_k A_0 = (sum_k p_k B_k) A_0. A
is never sent, in either direction: client and server draw the same bits from the seed, so
traffic is B's alone. Noise on B enters the model linearly, where noise on both factors would
also be multiplied with itself.

Left open by the paper, chosen here: p_k are example counts; members that were not sampled keep
nothing and start from the server's B when they are. The paper freezes a random head;
`lora.head` decides that here.
"""

from bract.wire.plan import Plan
from strategies.base import FederatedLora
from strategies.federation import Member


class FFALoRA(FederatedLora):
    """Only B trains and travels."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Every member trains B from the server's."""
        return self.factors(server_round, member, "B")
