"""Every setting: its type, default, bounds and meaning, in one place.

The keys are Flower run-config keys: ``section.name`` with hyphens. `bract.settings.read` makes settings of such keys;
`bract.settings.write` makes the defaults in ``pyproject.toml``, and ``docs/settings.md``, of this.
"""

from dataclasses import asdict, field
from typing import Literal

from pydantic import StrictBool, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from bract.choices import Accountant, Codec, Head, HeadInit, Pooling, Score, Variant
from bract.settings.field import Finite, MethodName, TaskName, Written, setting
from bract.settings.flat import Value, flatten, toml
from bract.settings.methods import DEFAULT, METHODS


@dataclass(frozen=True)
class StrategySettings:
    """Which method, and how clients are weighed."""

    name: MethodName = setting(DEFAULT, "0.1", "the federated LoRA method", example=METHODS[-1].name)
    weights: Literal["auto", "examples", "uniform", "norm"] = setting(
        "auto",
        "0.1",
        "how clients are weighed; auto is the method's own; norm: by the norm of what was learned",
        example="uniform",
    )
    divide: Literal["all", "selected"] = setting(
        "all",
        "0.1",
        "a slot's change is divided by the weights of all participants, or of those that selected it",
        example="selected",
    )
    score: Score = setting(
        "product",
        "0.1",
        "what makes a slot matter: the norm of the change of B·A (the paper's), of the factor's, its effect "
        "on the loss, or, without a probe, the norm of B·A as it was last released",
        example="released",
    )
    probe: Literal["epoch", "first-epoch"] = setting(
        "epoch",
        "0.1",
        "epoch: probe first and start over; first-epoch: what the probe learned is kept, and counts",
        example="first-epoch",
    )
    gamma: Finite = setting(
        0.99, "0.1", "the tail that may be pruned begins at floor(gamma · rank)", example=0.8, low=0.01, high=1
    )
    penalty: Finite = setting(0.01, "0.1", "strength of the tail's penalty; 0: none", example=0.1, low=0, high=1e6)
    min_rank: StrictInt = setting(1, "0.1", "no client prunes itself below this rank", example=2, low=1, high=1024)
    local_b: Literal["own", "passed"] = setting(
        "own",
        "0.1",
        "each client keeps its own B and head, or one B and head pass from client to client",
        example="passed",
    )
    personal_steps: StrictInt = setting(
        0,
        "0.1",
        "steps after the last round, of what stays with the client alone, without noise; also for local heads",
        example=20,
        low=0,
    )


@dataclass(frozen=True)
class FederationSettings:
    """Who takes part."""

    nodes: StrictInt = setting(0, "0.1", "nodes to wait for; 0: all there are", example=10, low=0)
    fraction: Finite = setting(1.0, "0.1", "share of the nodes sampled in a round", example=0.1, low=1e-6, high=1)
    deadline: Finite = setting(
        600.0, "0.1", "seconds to wait: for nodes to join, and for a round", example=3600.0, low=1
    )
    quorum: Finite = setting(0.5, "0.1", "share of the sampled that must answer", example=0.8, low=0, high=1)
    sum: Literal["plain", "secure", "unmasked"] = setting(
        "plain",
        "0.2",
        "plain: the server sees each client's update; secure: it sees their sum alone; unmasked: the same numbers "
        "without masks, to compare with, in simulation",
        example="secure",
    )
    colluders: StrictInt = setting(
        0,
        "0.2",
        "clients of a secure sum that may work for the server; 0: a fifth, at least one",
        example=2,
        low=0,
    )
    survivors: StrictInt = setting(
        0,
        "0.2",
        "clients whose parts must arrive, or nothing of a secure sum is released; 0: four fifths",
        example=8,
        low=0,
    )
    measure: Written = setting(
        "auto",
        "0.2",
        "when clients measure: auto: after every round; every:5: after each fifth and the last; last",
        example="every:5",
        pattern=r"auto|last|every:[1-9]\d{0,5}",
        form="auto, last or every:5",
    )
    ranks: Written = setting(
        "auto",
        "0.1",
        "ranks that each client carries (hetlora, flexlora) or sends on average (lora-a2), where its node's "
        "rank does not say: a number, or a population; auto: lora.rank, for lora-a2 a quarter of it",
        example="4",
        pattern=r"auto|uniform|heavy-tail|normal|\d{1,4}(\.\d{1,6})?",
        form="auto, a number such as 4, or uniform, heavy-tail or normal",
    )


@dataclass(frozen=True)
class ModelSettings:
    """The frozen base model."""

    name: StrictStr = setting("minilm", "0.1", "minilm, a folder, or a hub id", example="/models/my-encoder")
    task: TaskName = setting("classify", "0.1", "what it is trained for", example="classify")
    pooling: Literal["auto", Pooling] = setting(
        "auto", "0.1", "what the head reads; native is the model's own classification head", example="mean"
    )


@dataclass(frozen=True)
class LoraSettings:
    """The adapter and the head beside it."""

    rank: StrictInt = setting(8, "0.1", "ranks of each adapted module", example=16, low=1, high=1024)
    alpha: Finite = setting(16.0, "0.1", "the adapter is scaled by alpha / rank", example=32.0, low=1e-6)
    targets: StrictStr = setting(
        "attention",
        "0.1",
        "attention: what PEFT adapts by default (query and value); all-linear: every linear layer of the "
        "encoder; else module names, comma separated",
        example="query,key,value",
    )
    variant: Variant = setting(
        "lora",
        "0.1",
        "rslora: scaled by alpha / sqrt(rank); vera: two vectors a module are trained, on frozen random matrices",
        example="rslora",
    )
    head: Literal["auto", Head] = setting(
        "auto",
        "0.1",
        "auto: local for fedsa, else frozen where its start is made from label names, else shared",
        example="shared",
    )
    head_init: Literal["auto", HeadInit] = setting(
        "auto", "0.1", "auto: labels for sentence encoders, else random", example="random"
    )


@dataclass(frozen=True)
class DataSettings:
    """What is learned, and how it is split."""

    source: Written = setting(
        "demo",
        "0.1",
        "demo, file:/absolute/path (CSV, JSONL, Parquet), hub:owner/name, or node: each node's own data-path",
        example="file:/data/tickets.csv",
        pattern=r"demo|node|file:/.+|hub:\w[\w.-]*(/\w[\w.-]*)?",
        form="demo, node, file:/absolute/path.csv or hub:owner/name",
    )
    text: StrictStr = setting("text", "0.1", "the column that holds the text", example="message")
    label: StrictStr = setting("label", "0.1", "the column that holds the label", example="intent")
    labels: Written = setting(
        "",
        "0.1",
        "label names, or names with their descriptions: as JSON, or a JSON file; at nodes with own data as JSON alone",
        example='["late", "lost"]',
        pattern=r"|/.+|\s*[\[{].*",
        form="a JSON list of names, or an absolute path",
    )
    user: StrictStr = setting(
        "",
        "0.1",
        "the column that says whose an example is: a person's stay together, and may be protected as one; a row "
        "without is a person by itself",
        example="patient",
    )
    test: Written = setting(
        "",
        "0.1",
        "a file that the server measures on, beside the clients' own part",
        example="/data/test.csv",
        pattern=r"|/.+",
        form="an absolute path",
    )
    holdout: Finite = setting(
        0.2, "0.1", "share of a client's data held out for measuring", example=0.1, low=0, high=0.9
    )
    holdout_mix: Literal["own", "independent"] = setting(
        "own",
        "0.1",
        "labels of what a client holds out: own: a part of its data; independent: drawn by itself, by the same rule",
        example="independent",
    )
    max_length: StrictInt = setting(64, "0.1", "tokens of a text that are read", example=128, low=4, high=8192)
    partition: Written = setting(
        "auto",
        "0.1",
        "auto: the demo's branches, else iid",
        example="dirichlet:0.1",
        pattern=r"auto|iid|dirichlet:\d*\.?\d+|pathological:[1-9]\d*|natural:.+",
        form="iid, dirichlet:0.1, pathological:2 or natural:column",
    )


@dataclass(frozen=True)
class TrainSettings:
    """Training on a client."""

    epochs: StrictInt = setting(
        1, "0.1", "passes over the client's data in a round, where steps is 0", example=2, low=1
    )
    steps: StrictInt = setting(5, "0.1", "steps in a round; 0: as many as epochs says", example=20, low=0)
    batch: StrictInt = setting(
        64, "0.1", "examples in a step, under privacy on average; persons where these are protected", example=32, low=1
    )
    lr: Finite = setting(
        0.0,
        "0.1",
        "learning rate of A and of the head, for MiniLM; larger models want less; 0: 0.004, under noise 0.02",
        example=0.001,
        low=0,
    )
    lr_ratio: Finite = setting(5.0, "0.1", "multiplies the learning rate of B", example=1.0, low=0)
    optimizer: Literal["adamw", "sgd"] = setting("adamw", "0.1", "fresh in every round", example="sgd")
    rate: Finite = setting(
        0.16,
        "0.2",
        "where noise is shared: the share of each client's examples that a step draws, the same for all and public; "
        "train.batch is then about how many these are, by which sums are divided",
        example=0.05,
        low=1e-6,
        high=1,
    )
    engine: Literal["auto", "opacus", "fused"] = setting(
        "auto", "0.1", "what computes gradients; auto: fused if exact", example="opacus"
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "0.1", "of products with frozen weights", example="bfloat16"
    )


@dataclass(frozen=True)
class PrivacySettings:
    """What is guaranteed to the clients' examples."""

    unit: Literal["none", "example", "person", "client"] = setting(
        "example",
        "0.1",
        "what is protected: nothing, each example or each person (by its client), or each client (by the server, who "
        "is trusted)",
        example="person",
    )
    per_person: StrictInt = setting(
        4,
        "0.1",
        "examples of a person in a step, at most, where persons are protected; drawn anew in each",
        example=8,
        low=1,
    )
    epsilon: Finite = setting(8.0, "0.1", "the target over the whole run", example=3.0, low=0.01, high=1000)
    delta: Finite = setting(
        1e-05,
        "0.1",
        "at most a tenth of one in the number of a client's examples, or of clients",
        example=1e-6,
        low=1e-12,
        high=0.01,
    )
    clip: Finite = setting(
        1.0,
        "0.1",
        "the longest that an example's gradient or a client's update may be",
        example=0.5,
        low=1e-6,
        high=1e6,
    )
    clip_groups: Literal["all", "head"] = setting(
        "all",
        "0.1",
        "all: one clip over everything that trains; head: the factors and the head each for themselves",
        example="head",
    )
    noise: Literal["local", "shared"] = setting(
        "local",
        "0.2",
        "local: each client's noise protects it alone; shared: all clients' noise together protects each, in a sum "
        "that is secure and takes one step a round",
        example="shared",
    )
    accountant: Accountant = setting("prv", "0.1", "how epsilon is counted; prv is tight", example="rdp")
    joins: StrictInt = setting(
        0, "0.1", "rounds that a client may join, for which its noise is set; 0: all", example=3, low=0
    )
    measuring: Literal["auto", "exact", "noisy", "nothing"] = setting(
        "auto",
        "0.1",
        "what clients tell of held-out examples, where they protect them: auto is exact in a simulation, and what its "
        "operator allows at a node; noisy costs the same target once more, of other examples than training",
        example="noisy",
    )
    share_metrics: StrictBool = setting(
        False, "0.1", "send exact example counts, training losses and times, which nothing protects", example=True
    )
    test_seed: StrictStr = setting(
        "", "0.1", "for tests alone: noise that anyone can predict, which protects nothing", example="7"
    )

    @property
    def by_clients(self) -> bool:
        """Whether clients protect their own data, towards the server too."""
        return self.unit in ("example", "person")


@dataclass(frozen=True)
class ServerSettings:
    """The server's own steps, where clients send sums of gradients (privacy.noise = shared)."""

    optimizer: Literal["sgd", "momentum", "adam"] = setting(
        "momentum", "0.2", "what the server steps with", example="adam"
    )
    lr: Finite = setting(
        0.0,
        "0.2",
        "learning rate of A and of the head; train.lr-ratio times as much for B; 0: 2.4, for adam 0.004",
        example=1.0,
        low=0,
    )


@dataclass(frozen=True)
class WireSettings:
    """How payloads are written."""

    codec: Codec = setting(
        "float32",
        "0.1",
        "the numbers in a payload; in a sum with shared noise float16 is words of 16 bits",
        example="float16",
    )


@dataclass(frozen=True)
class RunSettings:
    """Where the results go."""

    folder: Written = setting(
        "",
        "0.1",
        "absolute; default: a new one under ~/.bract/runs",
        example="/results/first",
        pattern=r"|/.+",
        form="/absolute/folder",
    )
    resume: StrictBool = setting(False, "0.1", "go on from the folder's checkpoint", example=True)


@dataclass(frozen=True)
class Settings:
    """All settings of a run."""

    rounds: StrictInt = setting(5, "0.1", "rounds of training", example=20, low=1)
    seed: StrictInt = setting(
        0, "0.1", "of partitions, sampling, first values and batches", example=1, low=0, high=2**31 - 1
    )
    strategy: StrategySettings = field(default_factory=StrategySettings)
    federation: FederationSettings = field(default_factory=FederationSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    wire: WireSettings = field(default_factory=WireSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def flat(self) -> dict[str, Value]:
        """The settings as run-config keys."""
        return flatten(asdict(self))

    def to_toml(self) -> str:
        """TOML that Flower's ``--run-config`` takes."""
        lines = [f"{key} = {toml(value)}" for key, value in self.flat().items()]
        return "\n".join(lines) + "\n"
