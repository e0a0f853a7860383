"""Federated LoRA methods: one file each, on Flower's `Strategy`. NumPy only."""

from strategies.base import FederatedLora
from strategies.federation import Federation, Member
from strategies.fedit import FedIT
from strategies.ffa import FFALoRA

__all__ = ["FFALoRA", "FedIT", "FederatedLora", "Federation", "Member", "create"]


def create(name: str, federation: Federation) -> FederatedLora:
    """The strategy that `strategy.name` means."""
    methods: dict[str, type[FederatedLora]] = {"fedit": FedIT, "ffa": FFALoRA}
    return methods[name](federation)
