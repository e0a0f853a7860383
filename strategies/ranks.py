"""What each client carries: its node's own rank, else what `federation.ranks` gives it."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bract.errors import BractError
from bract.settings.checks import POPULATIONS
from bract.settings.methods import Method, method_of, unequal
from bract.settings.schema import Settings
from strategies.federation import Member


def population(name: str, clients: int, seed: int) -> list[int]:
    """Ranks for so many clients in the proportions of a named population, dealt out by the seed.

    For thirty clients it is the population itself. Who gets which rank does not depend on the data.
    """
    ranks = POPULATIONS[name]
    dealt = [ranks[int((i + 0.5) * len(ranks) / clients)] for i in range(clients)]
    order = np.random.default_rng([seed, 5]).permutation(clients)
    return [dealt[i] for i in order]


def budget(rank: float, modules: int) -> int:
    """Slots that so many ranks a module are. A third of a rank in twelve modules is four, though the float is less."""
    return math.floor(rank * modules + 1e-9)


def assign(members: Iterable[Member], settings: Settings, modules: int, clients: int) -> tuple[Member, ...]:
    """The members with their ranks; one that cannot be is refused by name."""
    method, full = method_of(settings.strategy.name), settings.lora.rank
    if not method.unequal:
        for member in members:
            if member.own is not None and member.own < full:
                raise BractError(
                    f"client {member.partition} carries rank {member.own:g} by its node's configuration, {method.name} "
                    f"needs lora.rank = {full} of all; {', '.join(unequal())} take unequal clients"
                )
        return tuple(members)
    given = _given(settings, method, clients)
    return tuple(_ranked(member, given[member.partition], settings, method, modules) for member in members)


def _given(settings: Settings, method: Method, clients: int) -> list[float]:
    ranks, full = settings.federation.ranks, settings.lora.rank
    if ranks in POPULATIONS:
        return [float(rank) for rank in population(ranks, clients, settings.seed)]
    return [full * method.auto_rank if ranks == "auto" else float(ranks)] * clients


def _ranked(member: Member, given: float, settings: Settings, method: Method, modules: int) -> Member:
    full = settings.lora.rank
    rank = given if member.own is None else member.own
    who = f"client {member.partition}: rank {rank:g}" + (" in its node's configuration" if member.own else "")
    if rank > full:
        raise BractError(f"{who}, the adapter has lora.rank = {full}; raise lora.rank or lower the client's rank")
    if method.ranks == "whole" and rank != int(rank):
        raise BractError(f"{who} should be a whole number for {method.name}")
    if method.ranks == "budget" and budget(rank, modules) < 1:
        if settings.federation.ranks == "auto" and member.own is None:
            return replace(member, rank=1 / modules)
        raise BractError(f"{who} in each of {modules} modules is a budget of less than one slot")
    return replace(member, rank=rank)
