"""Federated LoRA methods: one file each, on Flower's `Strategy`. NumPy only."""

from importlib import import_module

from bract.settings.methods import method_of
from strategies.base import FederatedLora
from strategies.federation import Federation, Member

__all__ = ["FederatedLora", "Federation", "Member", "create"]


def create(name: str, federation: Federation) -> FederatedLora:
    """The strategy that `strategy.name` means."""
    module, _, kind = method_of(name).place.partition(":")
    made: type[FederatedLora] = getattr(import_module(module), kind)
    return made(federation)
