"""Settings that are right one by one and wrong together, and what each method does not define."""

import re
from dataclasses import asdict

from bract.settings import methods
from bract.settings.flat import flatten
from bract.settings.methods import Method, method_of, unequal
from bract.settings.schema import Settings, StrategySettings

# Ranks of thirty clients, as in LoRA-A2's experiment with unequal clients.
POPULATIONS: dict[str, tuple[int, ...]] = {
    "uniform": (2,) * 6 + (4,) * 6 + (8,) * 6 + (16,) * 6 + (32,) * 6,
    "heavy-tail": (2,) * 16 + (4,) * 8 + (8,) * 4 + (16,) * 2,
    "normal": (1,) * 3 + (2,) * 7 + (4,) * 10 + (8,) * 7 + (16,) * 3,
}


def conflicts(settings: Settings) -> list[str]:
    """What is wrong with settings that are each right by themselves."""
    found = []
    if settings.model.pooling == "native" and settings.lora.head_init == "labels":
        found.append(
            "lora.head-init = 'labels' needs a pooled head: set model.pooling to mean or cls, or "
            "lora.head-init to random"
        )
    if settings.run.resume and not settings.run.folder:
        found.append("run.resume = true: run.folder should name the folder of the run to go on with")
    if not settings.lora.targets.strip(" ,"):
        found.append(f"lora.targets = {settings.lora.targets!r}: should be attention, all-linear or module names")
    kind, _, number = settings.data.partition.partition(":")
    if kind == "dirichlet" and float(number) <= 0:
        found.append(f"data.partition = {settings.data.partition!r}: should be above 0, such as dirichlet:0.1")
    if settings.data.source == "demo" and settings.data.user:
        found.append(f"data.user = {settings.data.user!r}: the demo does not say whose its messages are; name a file")
    if settings.data.source == "node" and (settings.data.partition, settings.data.holdout_mix) != ("auto", "own"):
        found.append(
            "data.source = 'node': a node's file is its own and is not split; leave data.partition auto and "
            "data.holdout-mix own"
        )
    return found + _undefined(settings) + _unprotected(settings)


def _unprotected(settings: Settings) -> list[str]:
    """What has no valid guarantee under privacy: refused, not run without one."""
    if settings.privacy.unit == "none":
        return []
    if settings.privacy.unit == "client":
        return _unprotected_clients(settings)
    found: list[str] = []
    if settings.privacy.unit == "person" and not settings.data.user and settings.data.source not in ("demo", "node"):
        found.append("privacy.unit = 'person': data.user should name the column that says whose an example is")
    if settings.train.precision != "float32":
        found.append(
            f"train.precision = {settings.train.precision!r}: how a text's products round then depends on what it is "
            "computed with, which no clip bounds; privacy.unit must be none or client"
        )
    if settings.lora.variant == "vera":
        found.append(
            "lora.variant = 'vera': its vectors have no gradients for each example, so privacy.unit must be none "
            "or client"
        )
    if settings.strategy.weights == "examples" and not settings.privacy.share_metrics:
        found.append(
            "strategy.weights = 'examples': would tell the server exact numbers of examples; leave it auto, or "
            "set privacy.share-metrics = true"
        )
    return found


def _unprotected_clients(settings: Settings) -> list[str]:
    """What is no bounded sum of clients' updates, or is about examples alone."""
    found, strategy, privacy = [], settings.strategy, settings.privacy
    method = method_of(strategy.name)
    if method.no_sum:
        alike = sorted(m.name for m in methods.METHODS if m.unequal == method.unequal and not m.no_sum)
        found.append(
            f"strategy.name = {method.name!r}: {method.no_sum}; with privacy.unit = client take {' or '.join(alike)}"
        )
    if strategy.local_b == "passed":
        found.append("strategy.local-b = 'passed': hands a client's B to the next one as it is; set it to own")
    if strategy.weights not in ("auto", "uniform"):
        found.append(f"strategy.weights = {strategy.weights!r}: privacy.unit = client weighs all clients the same")
    if strategy.divide == "selected":
        found.append("strategy.divide = 'selected': divides by what clients chose, and privacy.unit = client may not")
    if privacy.joins:
        found.append(
            f"privacy.joins = {privacy.joins}: is for clients that protect their data; the server counts all rounds"
        )
    if privacy.clip_groups != "all":
        found.append(f"privacy.clip-groups = {privacy.clip_groups!r}: is for clients that protect their data")
    return found


def _undefined(settings: Settings) -> list[str]:
    """Choices that the method does not define."""
    strategy, lora, method = settings.strategy, settings.lora, method_of(settings.strategy.name)
    found, name = _of_others(strategy, method), method.name
    if lora.variant == "vera" and method.unequal:
        found.append(f"lora.variant = 'vera': {name} chooses among ranks, and VeRA's vectors have none")
    if strategy.weights == "norm" and method.keeps_b:
        found.append(f"strategy.weights = 'norm': the server of {name} never sees B, so it knows no norm of B·A")
    if strategy.weights == "norm" and lora.variant == "vera":
        found.append("strategy.weights = 'norm': is defined for B·A, not for lora.variant = 'vera'")
    if strategy.local_b == "passed" and lora.head != "auto":
        found.append(
            f"lora.head = {lora.head!r}: should be auto where strategy.local-b = 'passed': the head passes too"
        )
    own_b = method.keeps_b and strategy.local_b == "own"
    if strategy.personal_steps and not own_b and lora.head != "local":
        keeping = " or ".join(m.name for m in methods.METHODS if m.keeps_b)
        found.append(
            f"strategy.personal-steps = {strategy.personal_steps}: nothing stays with the clients; take "
            f"strategy.name = {keeping} or lora.head = local"
        )
    if "score" in method.options and strategy.score == "released" and strategy.probe != "epoch":
        found.append(f"strategy.probe = {strategy.probe!r}: strategy.score = 'released' takes no probe")
    if "min-rank" in method.options and strategy.min_rank > lora.rank:
        found.append(f"strategy.min-rank = {strategy.min_rank}: should be at most lora.rank = {lora.rank}")
    if settings.data.test and (own_b or lora.head == "local"):
        what = "B" if own_b else "the head"
        found.append(f"data.test: the server has no whole model to measure, as {what} stays with the clients")
    return found + _ranks(settings, method)


def _of_others(strategy: StrategySettings, method: Method) -> list[str]:
    """Choices that are another method's. Its numbers do no harm: they are not used."""
    values, defaults = flatten(asdict(strategy)), flatten(asdict(StrategySettings()))
    return [
        f"strategy.{key} = {values[key]!r}: is {other.name}'s, and strategy.name = {method.name!r}"
        for other in methods.METHODS
        for key in other.options
        if key not in method.options and isinstance(values[key], str) and values[key] != defaults[key]
    ]


def _ranks(settings: Settings, method: Method) -> list[str]:
    """Ranks that the method's clients cannot carry."""
    ranks, full = settings.federation.ranks, settings.lora.rank
    if ranks != "auto" and not method.unequal:
        return [
            f"federation.ranks = {ranks!r}: {method.name} gives all clients lora.rank; {', '.join(unequal())} do not"
        ]
    if ranks in POPULATIONS and max(POPULATIONS[ranks]) > full:
        return [f"federation.ranks = {ranks!r}: needs lora.rank of at least {max(POPULATIONS[ranks])}"]
    found = []
    if re.match(r"\d", ranks):
        if method.ranks == "whole" and float(ranks) != int(float(ranks)):
            found.append(f"federation.ranks = {ranks!r}: should be a whole number for {method.name}")
        if float(ranks) > full or float(ranks) == 0:
            found.append(f"federation.ranks = {ranks!r}: should be above 0 and at most lora.rank = {full}")
    return found
