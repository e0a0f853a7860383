"""FedIT (also FL+LoRA): federated averaging of both factors.

Zhang et al., "Towards Building the Federated GPT: Federated Instruction Tuning",
https://arxiv.org/abs/2305.05644

    A <- sum_k p_k A_k          B <- sum_k p_k B_k          p_k = n_k / sum_j n_j

Guaranteed: the factors are averaged exactly. Not guaranteed: that the model is. What the
clients learned is sum_k p_k B_k A_k, what they get back is (sum_k p_k B_k)(sum_k p_k A_k): the
mean of products is not the product of means, and the gap grows with the clients' differences.
"""

from bract.wire.plan import Plan
from strategies.base import FederatedLora
from strategies.federation import Member


class FedIT(FederatedLora):
    """Both factors train and travel."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Every member trains A and B from the server's."""
        return self.factors(server_round, member, "A", "B")
