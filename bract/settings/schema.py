"""Every setting, its default and its bounds; read once, checked all together.

The keys are Flower run-config keys: ``section.name`` with hyphens. ``pyproject.toml`` repeats
the defaults, because Flower lets ``--run-config`` change only keys that stand there.
"""

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from bract.errors import BractError
from bract.settings.checks import conflicts
from bract.settings.tasks import TASKS

Value = str | int | float | bool


def setting(
    default: Value,
    help: str,  # noqa: A002 - the word argparse and dataclasses' users know
    *,
    choices: tuple[str, ...] = (),
    low: float = -math.inf,
    high: float = math.inf,
    pattern: str = "",
    example: str = "",
) -> Any:
    """A field that knows its own bounds; `example` says what a `pattern` would accept."""
    bounds = {"choices": choices, "low": low, "high": high, "pattern": pattern, "example": example}
    return field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True)
class StrategySettings:
    """Which method, and how clients are weighed."""

    name: str = setting(
        "ffa", "the federated LoRA method",
        choices=("fedit", "ffa", "rolora", "lora-a2", "fedsa", "hetlora", "flexlora"),
    )  # fmt: skip
    weights: str = setting(
        "auto",
        "how clients are weighed; auto is the method's own; norm: by the norm of what was learned",
        choices=("auto", "examples", "uniform", "norm"),
    )
    divide: str = setting(
        "all",
        "lora-a2: a slot's change is divided by the weights of all participants, or of those that selected it",
        choices=("all", "selected"),
    )
    score: str = setting(
        "product",
        "lora-a2: what makes a slot matter: the norm of the change of B·A (the paper's), of the factor's, its "
        "effect on the loss, or, without a probe, the norm of B·A as it was last released",
        choices=("product", "magnitude", "sensitivity", "released"),
    )
    probe: str = setting(
        "epoch",
        "lora-a2: epoch: probe first and start over; first-epoch: what the probe learned is kept, and counts",
        choices=("epoch", "first-epoch"),
    )
    gamma: float = setting(0.99, "hetlora: the tail that may be pruned begins at floor(gamma · rank)", low=0.01, high=1)
    penalty: float = setting(0.01, "hetlora: strength of the tail's penalty; 0: none", low=0, high=1e6)
    min_rank: int = setting(1, "hetlora: no client prunes itself below this rank", low=1, high=1024)
    local_b: str = setting(
        "own",
        "fedsa: each client keeps its own B and head, or one B and head pass from client to client",
        choices=("own", "passed"),
    )
    personal_steps: int = setting(
        0, "fedsa, local heads: steps after the last round, of what stays with the client alone, without noise", low=0
    )


@dataclass(frozen=True)
class FederationSettings:
    """Who takes part."""

    nodes: int = setting(0, "nodes to wait for; 0: all there are", low=0)
    fraction: float = setting(1.0, "share of the nodes sampled in a round", low=1e-6, high=1)
    deadline: float = setting(600.0, "seconds to wait: for nodes to join, and for a round", low=1)
    quorum: float = setting(0.5, "share of the sampled that must answer", low=0, high=1)
    ranks: str = setting(
        "auto",
        "ranks that each client carries (hetlora, flexlora) or sends on average (lora-a2), where its node's rank "
        "does not say: a number, or a population; auto: lora.rank, for lora-a2 a quarter of it",
        pattern=r"auto|uniform|heavy-tail|normal|\d{1,4}(\.\d{1,6})?",
        example="auto, a number such as 4, or uniform, heavy-tail or normal",
    )


@dataclass(frozen=True)
class ModelSettings:
    """The frozen base model."""

    name: str = setting("minilm", "minilm, a folder, or a hub id")
    task: str = setting("classify", "what it is trained for", choices=tuple(TASKS))
    pooling: str = setting(
        "auto",
        "what the head reads; native is the model's own classification head",
        choices=("auto", "native", "mean", "cls"),
    )


@dataclass(frozen=True)
class LoraSettings:
    """The adapter and the head beside it."""

    rank: int = setting(8, "ranks of each adapted module", low=1, high=1024)
    alpha: float = setting(16.0, "the adapter is scaled by alpha / rank", low=1e-6)
    targets: str = setting(
        "attention",
        "attention: what PEFT adapts by default (query and value); all-linear: every linear map of "
        "the encoder; else module names, comma separated",
    )
    variant: str = setting(
        "lora",
        "rslora: scaled by alpha / sqrt(rank); vera: two vectors a module are trained, on frozen random matrices",
        choices=("lora", "rslora", "vera"),
    )
    head: str = setting(
        "auto",
        "auto: local for fedsa, else frozen where its start is made from label names, else shared",
        choices=("auto", "frozen", "shared", "local"),
    )
    head_init: str = setting(
        "auto", "auto: labels for sentence encoders, else random", choices=("auto", "random", "labels")
    )


@dataclass(frozen=True)
class DataSettings:
    """What is learned, and how it is split."""

    source: str = setting(
        "demo",
        "demo, file:/absolute/path (CSV, JSONL, Parquet), hub:owner/name, or node: each node's own data-path",
        pattern=r"demo|node|file:/.+|hub:[\w.-]+(/[\w.-]+)?",
        example="demo, node, file:/absolute/path.csv or hub:owner/name",
    )
    text: str = setting("text", "the column that holds the text")
    label: str = setting("label", "the column that holds the label")
    labels: str = setting(
        "",
        "a JSON file: list of label names, or names with their descriptions",
        pattern=r"|/.+",
        example="an absolute path",
    )
    test: str = setting(
        "",
        "a file that the server measures on, beside the clients' own part",
        pattern=r"|/.+",
        example="an absolute path",
    )
    holdout: float = setting(0.2, "share of a client's data held out for measuring", low=0, high=0.9)
    holdout_mix: str = setting(
        "own",
        "labels of what a client holds out: own: a part of its data; independent: drawn by itself, by the same rule",
        choices=("own", "independent"),
    )
    max_length: int = setting(64, "tokens of a text that are read", low=4, high=8192)
    partition: str = setting(
        "auto",
        "auto: the demo's branches, else iid",
        pattern=r"auto|iid|dirichlet:\d*\.?\d+|pathological:[1-9]\d*|natural:.+",
        example="iid, dirichlet:0.1, pathological:2 or natural:column",
    )


@dataclass(frozen=True)
class TrainSettings:
    """Training on a client."""

    epochs: int = setting(1, "passes over the client's data in a round, where steps is 0", low=1)
    steps: int = setting(5, "steps in a round; 0: as many as epochs says", low=0)
    batch: int = setting(64, "examples in a step, under privacy on average", low=1)
    lr: float = setting(
        0.0,
        "learning rate of A and of the head, for MiniLM; larger models want less; 0: 0.004, under noise 0.02",
        low=0,
    )
    lr_ratio: float = setting(5.0, "multiplies the learning rate of B", low=0)
    optimizer: str = setting("adamw", "fresh in every round", choices=("adamw", "sgd"))
    engine: str = setting("auto", "what computes gradients; auto: fused if exact", choices=("auto", "opacus", "fused"))
    precision: str = setting("float32", "of products with frozen weights", choices=("float32", "bfloat16"))


@dataclass(frozen=True)
class PrivacySettings:
    """What is guaranteed to the clients' examples."""

    unit: str = setting(
        "example",
        "what is protected: nothing, each example (by its client), or each client (by the server, who is trusted)",
        choices=("none", "example", "client"),
    )
    epsilon: float = setting(8.0, "the target over the whole run", low=0.01, high=1000)
    delta: float = setting(1e-5, "well below one in the number of examples or clients", low=1e-12, high=0.01)
    clip: float = setting(1.0, "the longest that an example's gradient or a client's update may be", low=1e-6, high=1e6)
    clip_groups: str = setting(
        "all",
        "all: one clip over everything that trains; head: the factors and the head each for themselves",
        choices=("all", "head"),
    )
    accountant: str = setting("prv", "how epsilon is counted; prv is tight", choices=("prv", "rdp"))
    joins: int = setting(0, "rounds that a client may join, for which its noise is set; 0: all", low=0)
    share_metrics: bool = setting(False, "send exact example counts and training losses, which nothing protects")
    test_seed: str = setting("", "for tests alone: noise that anyone can predict, which protects nothing")


@dataclass(frozen=True)
class WireSettings:
    """How payloads are written."""

    codec: str = setting("float32", "the numbers in a payload", choices=("float32", "float16", "int8"))


@dataclass(frozen=True)
class RunSettings:
    """Where the results go."""

    folder: str = setting(
        "", "absolute; default: a new one under ~/.bract/runs", pattern=r"|/.+", example="/absolute/folder"
    )
    resume: bool = setting(False, "go on from the folder's checkpoint")


@dataclass(frozen=True)
class Settings:
    """All settings of a run."""

    rounds: int = setting(5, "rounds of training", low=1)
    seed: int = setting(0, "of partitions, sampling, first values and batches", low=0, high=2**31 - 1)
    strategy: StrategySettings = field(default_factory=StrategySettings)
    federation: FederationSettings = field(default_factory=FederationSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    wire: WireSettings = field(default_factory=WireSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def flat(self) -> dict[str, Value]:
        """The settings as run-config keys."""
        return flatten(asdict(self))

    def to_toml(self) -> str:
        """TOML that Flower's ``--run-config`` takes."""
        lines = [f"{key} = {toml(value)}" for key, value in self.flat().items()]
        return "\n".join(lines) + "\n"


def read(values: Mapping[str, Any]) -> Settings:
    """Settings from run-config values; all faults are reported in one error.

    Keys that are missing keep their defaults. Keys that Bract does not know are refused, with
    the nearest one that it does.
    """
    known = declared()
    faults: list[str] = []
    taken: dict[str, Value] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            faults.append(f"{key}: no such setting; the nearest is {near[0]}")
            continue
        fault, taken[key] = _checked(key, value, known[key])
        if fault:
            faults.append(fault)
    if not faults:
        settings = _build(taken)
        faults = conflicts(settings)
        if not faults:
            return settings
    raise BractError("; ".join(faults))


def declared() -> dict[str, Any]:
    """Every key with the dataclass field that declares it."""
    found: dict[str, Any] = {}
    for top in fields(Settings):
        section = top.default_factory() if callable(top.default_factory) else None
        if is_dataclass(section):
            found |= {f"{_hyphens(top.name)}.{_hyphens(f.name)}": f for f in fields(section)}
        else:
            found[top.name] = top
    return found


def _checked(key: str, value: Any, declared_field: Any) -> tuple[str, Value]:
    default, bounds = declared_field.default, declared_field.metadata
    kind = type(default)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is str and type(value) in (int, float) and bounds["pattern"]:
        value = str(value)  # federation.ranks = 4 means what "4" does
    if type(value) is not kind:
        name = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        return f"{key} = {value!r}: should be {name}, such as {json.dumps(default)}", default
    if bounds["choices"] and value not in bounds["choices"]:
        near = difflib.get_close_matches(str(value), bounds["choices"], n=1, cutoff=0.0)
        return (
            f"{key} = {value!r}: should be one of {', '.join(bounds['choices'])}; the nearest is {near[0]}"
        ), default
    if kind in (int, float) and not (math.isfinite(value) and bounds["low"] <= value <= bounds["high"]):
        return f"{key} = {value!r}: should be {_range(bounds['low'], bounds['high'])}", default
    if bounds["pattern"] and not re.fullmatch(bounds["pattern"], value):
        return f"{key} = {value!r}: should be {bounds['example']}", default
    return "", value


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"at least {low:g}"
    return f"between {low:g} and {high:g}"


def _build(values: Mapping[str, Value]) -> Settings:
    sections: dict[str, Any] = {}
    for top in fields(Settings):
        prefix = f"{_hyphens(top.name)}."
        inner = {
            key.removeprefix(prefix).replace("-", "_"): value for key, value in values.items() if key.startswith(prefix)
        }
        if callable(top.default_factory):
            sections[top.name] = type(top.default_factory())(**inner)
        elif top.name in values:
            sections[top.name] = values[top.name]
    return Settings(**sections)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys with hyphens."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + _hyphens(name)
        flat |= flatten(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return flat


def toml(value: Value) -> str:
    """A value as TOML writes it: as JSON does, but without its pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False)


def _hyphens(name: str) -> str:
    return name.replace("_", "-")
