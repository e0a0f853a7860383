"""The list of methods: what settings and server must know of one before its code is asked.

A new method is one file in `strategies/` and one entry here. Nothing else names a method but documentation, to which
the settings' help belongs.
"""

from dataclasses import dataclass
from typing import Literal

from bract.choices import Head


@dataclass(frozen=True)
class Method:
    """A method's traits."""

    name: str
    place: str  # of its class: module:class
    options: tuple[str, ...] = ()  # its own keys under `strategy`; no other method reads them
    # What a client's rank may be: lora.rank for all, its own whole number, or a budget that may be a fraction.
    ranks: Literal["equal", "whole", "budget"] = "equal"
    auto_rank: float = 1.0  # the share of lora.rank that `federation.ranks = auto` gives
    keeps_b: bool = False  # B stays with the client, unless strategy.local-b = passed
    head: Head | None = None  # what `lora.head = auto` means; None: that depends on how the head starts
    no_sum: str = ""  # why its merge is no sum of updates that noise could be added to
    no_secure_sum: str = ""  # why its merge is no sum of numbers that nobody may see one by one

    @property
    def unequal(self) -> bool:
        """Whether clients may differ in rank."""
        return self.ranks != "equal"


METHODS: tuple[Method, ...] = (
    Method("fedit", "strategies.fedit:FedIT"),
    Method("ffa", "strategies.ffa:FFALoRA"),
    Method("rolora", "strategies.rolora:RoLoRA"),
    Method(
        "lora-a2",
        "strategies.lora_a2:LoRAA2",
        options=("divide", "score", "probe"),
        ranks="budget",
        auto_rank=0.25,
    ),
    Method(
        "fedsa",
        "strategies.fedsa:FedSALoRA",
        options=("local-b", "personal-steps"),
        keeps_b=True,
        head="local",
    ),
    Method(
        "hetlora",
        "strategies.hetlora:HetLoRA",
        options=("gamma", "penalty", "min-rank"),
        ranks="whole",
        no_secure_sum="weighs and prunes by what each client sent",
    ),
    Method(
        "flexlora",
        "strategies.flexlora:FlexLoRA",
        ranks="whole",
        no_sum="merges products, which are no sum of updates that noise could be added to",
        no_secure_sum="merges products, which are no sum of parts",
    ),
)
DEFAULT = "ffa"


def names() -> tuple[str, ...]:
    """All methods' names, in the list's order."""
    return tuple(method.name for method in METHODS)


def method_of(name: str) -> Method:
    """The method of this name."""
    return {method.name: method for method in METHODS}[name]


def unequal() -> tuple[str, ...]:
    """Names of the methods for clients that differ in rank."""
    return tuple(method.name for method in METHODS if method.unequal)
