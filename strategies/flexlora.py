"""FlexLoRA: the clients' products are averaged, and cut to rank r again by an SVD.

Bai et al., "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and Client Resources",
NeurIPS 2024, https://arxiv.org/abs/2402.11505

    W = sum_k p_k B_k A_k          W = U S V^T          B <- U_r S_r,  A <- V_r^T          p_k = n_k / sum_j n_j

and client k gets the first r_k ranks: the best product of that rank.

No d_out x d_in matrix is formed. With the clients' factors side by side, W = L R, L = [p_1 B_1 ... p_K B_K] and
R = [A_1; ...; A_K]; thin QRs of L and of R^T leave a core of at most (sum_k r_k)^2, whose SVD is W's. In float64: the
authors of LoRA-A2 could not run one on a large model, for want of accuracy.

Guaranteed: the result is the best rank-r approximation of the mean of the products (Eckart-Young), the same bits
in any order of replies, with signs fixed. Not guaranteed: exactness, where the products' mean has more than r
ranks of weight; nor constant memory: the replies' factors are held until the round ends, sum_k r_k ranks of them.

Chosen here: S goes to B, so that rows of A have length one, as long as at their start; the scale alpha / lora.rank
is one number for all clients. A rank that the mean does not have gets B = 0 and the first values of A, so that it can
still learn. Clients measure the first r_k ranks, what they could carry.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bract.adapter import initial
from bract.adapter.layout import FACTORS, Layout, Part, Parts, Vector
from bract.wire.payload import Payload, PayloadError
from bract.wire.plan import Plan
from strategies.aggregation import LIMIT, Merger, WeightedMean
from strategies.base import FederatedLora
from strategies.federation import Member

Matrix = NDArray[np.float64]


class FlexLoRA(FederatedLora):
    """Both factors, as many ranks as the client carries."""

    def plan(self, server_round: int, member: Member) -> Plan:
        """Train and send the first ranks of both factors."""
        layout, plan = self.federation.layout, self.factors(server_round, member, "A", "B")
        if member.rank >= layout.rank:
            return plan
        return replace(plan, slots=tuple(layout.first(int(member.rank)).tolist()))

    def merger(self, plan: Plan) -> Merger:
        """Products, and a mean for the head."""
        return ProductMean(self.federation.layout, self.federation.seed, "head" in plan.sends)


class ProductMean:
    """The weighted mean of the clients' products, as factors of the layout's rank."""

    def __init__(self, layout: Layout, seed: int, head: bool) -> None:
        self._layout = layout
        self._seed = seed
        self._head = WeightedMean(layout, ["head"]) if head else None
        self._replies: dict[int, tuple[float, Payload]] = {}

    def add(self, partition: int, weight: float, payload: Payload) -> None:
        """Keep one client's factors; a refused reply leaves no trace."""
        if any(len(v) and float(np.abs(v).max()) * weight >= LIMIT for v in payload.parts.values()):
            raise PayloadError("a value is out of all bounds")
        if self._head is not None:
            self._head.add(partition, weight, payload)
        self._replies[partition] = (weight, payload)

    def result(self, before: Parts) -> Parts:
        """The factors of the mean product."""
        replies = [self._replies[partition] for partition in sorted(self._replies)]
        total = math.fsum(weight for weight, _ in replies)
        first = initial.draw(replace(self._layout, head=()), self._seed, pooled=False)["A"]
        found: dict[str, list[Vector]] = {"A": [], "B": []}
        stacks = [{p: self._ranks(p, payload) for p in FACTORS} for _, payload in replies]
        for m, fresh in enumerate(self._layout.matrices("A", first)):
            left = np.concatenate([w / total * s["B"][m] for (w, _), s in zip(replies, stacks, strict=True)])
            right = np.concatenate([s["A"][m] for s in stacks])
            a, b = refactor(left.T, right, fresh)
            found["A"].append(a.astype(np.float32).reshape(-1))
            found["B"].append(b.T.astype(np.float32).reshape(-1))
        new: Parts = {"A": np.concatenate(found["A"]), "B": np.concatenate(found["B"])}
        return new if self._head is None else {**new, **self._head.result(before)}

    def _ranks(self, part: Part, payload: Payload) -> list[Matrix]:
        """Each module's rows in a reply, those that were sent."""
        layout = self._layout
        slots = np.arange(layout.slots) if payload.slots is None else payload.slots
        ends = np.cumsum(layout.widths(part)[slots])
        rows = np.split(payload.parts[part].astype(np.float64), ends[:-1])
        width = [m.d_in if part == "A" else m.d_out for m in layout.modules]
        return [
            np.array([row for slot, row in zip(slots, rows, strict=True) if slot // layout.rank == m]).reshape(-1, w)
            for m, w in enumerate(width)
        ]


def refactor(left: Matrix, right: Matrix, fresh: NDArray[np.float32]) -> tuple[Matrix, Matrix]:
    """A (r x d_in) and B (d_out x r) of the best rank-r approximation of left @ right.

    `fresh` (r x d_in) are the rows of A for ranks that the product does not have.
    """
    rank = len(fresh)
    q_left, r_left = np.linalg.qr(left)
    q_right, r_right = np.linalg.qr(right.T)
    u, s, vt = np.linalg.svd(r_left @ r_right.T)
    count = min(rank, len(s))
    b, a = q_left @ (u[:, :count] * s[:count]), vt[:count] @ q_right.T
    signs = np.sign(a[np.arange(count), np.abs(a).argmax(1)])
    a, b = a * signs[:, None], b * signs
    noise = s[0] * max(left.shape[0], right.shape[1]) * np.finfo(np.float64).eps
    there = s[:count] > noise
    whole_a, whole_b = fresh.astype(np.float64), np.zeros((left.shape[0], rank))
    whole_a[: there.sum()], whole_b[:, : there.sum()] = a[there], b[:, there]
    return whole_a, whole_b
