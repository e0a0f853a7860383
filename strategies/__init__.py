"""Federated LoRA methods: one file each, on Flower's `Strategy`. NumPy only."""

from strategies.base import FederatedLora
from strategies.federation import Federation, Member
from strategies.fedit import FedIT
from strategies.fedsa import FedSALoRA
from strategies.ffa import FFALoRA
from strategies.flexlora import FlexLoRA
from strategies.hetlora import HetLoRA
from strategies.lora_a2 import LoRAA2
from strategies.rolora import RoLoRA

__all__ = [
    "FFALoRA",
    "FedIT",
    "FedSALoRA",
    "FederatedLora",
    "Federation",
    "FlexLoRA",
    "HetLoRA",
    "LoRAA2",
    "Member",
    "RoLoRA",
    "create",
]


def create(name: str, federation: Federation) -> FederatedLora:
    """The strategy that `strategy.name` means."""
    methods: dict[str, type[FederatedLora]] = {
        "fedit": FedIT,
        "ffa": FFALoRA,
        "rolora": RoLoRA,
        "lora-a2": LoRAA2,
        "fedsa": FedSALoRA,
        "hetlora": HetLoRA,
        "flexlora": FlexLoRA,
    }
    return methods[name](federation)
