"""LoRA-A2: B and A train in turn, and each client sends only the ranks that matter to it.

Koo et al., "Towards Robust and Efficient Federated Low-Rank Adaptation with Heterogeneous
Clients", ACL 2025, https://arxiv.org/abs/2410.22815

In odd rounds, with F = A the factor that rests and G = B the one that trains (in even rounds the
other way round), each client k with a budget of r_k ranks a module:

    probe      train G for one epoch, unmasked: the change D_k;  then back to G
    score      S_k[m, i] = ‖D_k[m, i]‖ ‖F[m, i]‖        the norm of what rank i of module m would do
    select     M_k = the r_k * N highest of the N * r slots, over the whole model
    train      from G, and after every optimiser step L <- G + (L - G) * M_k
    send       the change L - G, its selected slots alone, and a bitmap of them

    G <- G + sum_k w_k scatter(L_k - G)        w_k = n_k / sum_j n_j

Guaranteed: the mean is exact, sum_k w_k B_k A = (sum_k w_k B_k) A, whatever slots were sent: a slot
that a client did not select is no change, and the weights are over all participants of the round. What
a client does not select it does not move, not by momentum nor by weight decay.

Not guaranteed: that every rank is used. A slot that no client selects in odd rounds keeps B = 0, so its
score in even rounds is zero and its A never moves until B was selected. Nor that less is sent than by FFA at
the same nominal rank: wide modules win the selection, and their slots are longer. Up goes what
the budget says; down go both factors at the global rank, which the paper does not count.

Left open by the paper, chosen here:
- Parity: odd rounds train B (its algorithm, not the sentence in its section 4.1); B = 0 forces it.
- Sampling: the weights are over those that take part in the round. `strategy.divide = selected` divides a
  slot's sum by the weights of those that selected it.
- Scale: lora.alpha / lora.rank with the global rank, one number for all (the paper: 16 / 16).
- The optimiser starts anew after the probe, as it does in every round.
- `strategy.score` for its ablation: `magnitude` ‖D_k[m, i]‖, `sensitivity` sum_j |g_j D_k[m, i]_j| with g the
  probe's mean gradient. The paper names these two without their formulas. `released` is this project's, for
  privacy: ‖B[:, i]‖ ‖A[i, :]‖ of the factors that the server sent, which have been released already, so that
  selecting costs neither steps nor noise. Nothing is known before B has been trained, so round 1 trains and
  sends all slots; from then on clients of one budget select alike, and mostly the same: what is selected grows.
- The probe is one epoch. Where `train.steps` sets the length of a local round, at most a fifth of it: the paper
  probes for one epoch and trains for five. A probe of one step of a fresh AdamW knows nothing: that step has one
  size in every coordinate, whatever the gradient.
- The budget is `federation.ranks` or the node's own `rank`, and may be a fraction; by default a quarter of
  lora.rank. (The paper mostly sends 8, 4, 2 or 1 of 16.)

B's rate is five times A's in the paper; that is the default of `train.lr-ratio` for every method, since
the paper's own ablation puts most of the gain down to it.
"""

from dataclasses import replace

from bract.directives.select import Select
from bract.wire.plan import Plan
from strategies.aggregation import Merger, WeightedChange
from strategies.base import FederatedLora
from strategies.federation import Member
from strategies.ranks import budget


class LoRAA2(FederatedLora):
    """B, then A, in turn; the client selects its slots."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Select, train and send the budget's slots of the round's factor."""
        layout = self.federation.layout
        count = budget(min(member.rank, layout.rank), len(layout.modules))
        score = self.federation.strategy.score
        if score == "released" and not self._something_released(server_round):
            return replace(self.in_turn(server_round, member), changes=True)
        select = Select(count, score, reuse=self.federation.strategy.probe == "first-epoch")
        plan = self.in_turn(server_round, member)
        return replace(plan, do=(*plan.do, select), changes=True)

    def _something_released(self, server_round: int) -> bool:
        """Whether B is no longer zero, as far as is known: in round 1 nobody has trained it, or all have abstained."""
        return server_round > 1 and ("B" not in self._arrays or bool(self._arrays["B"].any()))

    def merger(self, plan: Plan) -> Merger:
        """Changes are added to what was there."""
        selected = self.federation.strategy.divide == "selected"
        return WeightedChange(self.federation.layout, plan.sends, selected=selected)
