"""A node's policy: every word that its operator has in what leaves, with the strict default of each.

A value here is the most that any server can get. `reading` makes one of a file and the node's configuration, `judge`
holds a run's settings against it, and `explain` says in words what it means.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from bract.models.base_model import MINILM_FINGERPRINT
from bract.privacy.spending import Limit

UNITS = ("none", "client", "example", "person")  # what is promised to the data by a run, the least first

Unit = Literal["none", "client", "example", "person"]
Measuring = Literal["nothing", "noisy", "exact"]
Noise = Literal["auto", "shared", "full"]


def _absolute(path: str) -> str:
    if path and not (path.startswith("/") and len(path) > 1 and path.isprintable()):
        raise ValueError("an absolute path")
    return path


AbsolutePath = Annotated[StrictStr, AfterValidator(_absolute)]
Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class Data:
    """The node's data: where it is, which columns are meant, and what of it is public."""

    name: Annotated[StrictStr, Field(pattern=r"^[\w .:-]{0,80}$")] = ""  # the ledger's name for it
    path: AbsolutePath = ""
    text: StrictStr = "text"
    label: StrictStr = "label"
    user: StrictStr = ""  # whose a row is; none where nobody asks
    prompt: StrictStr = ""
    completion: StrictStr = ""
    messages: StrictStr = ""
    labels: Literal["from-run"] | tuple[StrictStr, ...] | dict[StrictStr, StrictStr] = "from-run"  # or described
    holdout: Annotated[Finite, Field(ge=0, le=0.9)] = 0.2
    examples: Annotated[StrictInt, Field(ge=0)] = 0  # a public number of rows; 0: the exact one is taken as known
    persons: Annotated[StrictInt, Field(ge=0)] = 0  # the same of persons


@dataclass(frozen=True, config=STRICT)
class Allow:
    """What a run may be."""

    tasks: tuple[StrictStr, ...] = ("classify",)
    models: dict[StrictStr, StrictStr] = field(default_factory=lambda: {"minilm": MINILM_FINGERPRINT})
    largest_rank: Annotated[StrictInt, Field(ge=1)] = 64
    smallest_batch: Annotated[StrictInt, Field(ge=1)] = 1


@dataclass(frozen=True, config=STRICT)
class Privacy:
    """What may be told of the data, ever."""

    unit: Unit = "example"
    epsilon: Annotated[Finite, Field(ge=0)] = 11.0  # one run of the default 8, as the lifetime counts
    delta: Annotated[Finite, Field(gt=0, lt=1)] = 1e-5
    largest_delta: Annotated[Finite, Field(gt=0, lt=1)] | None = None  # None: a tenth of one in the number of records
    exact_metrics: StrictBool = False
    measuring: Measuring = "noisy"
    timing: Literal["nobody", "server"] = "nobody"


@dataclass(frozen=True, config=STRICT)
class Peers:
    """What this node takes the other members of a secure sum to be, of which the server learns the total alone."""

    roster: AbsolutePath = ""  # the registered public keys of all members, exchanged outside the server
    colluders: Annotated[StrictInt, Field(ge=0)] = 1  # so many members at least are taken to help the server
    honest: Annotated[StrictInt, Field(ge=2)] = 2  # so many at least must be left in every sum besides those
    noise: Noise = "auto"  # full: all of it is this node's own; auto: its share where there is a roster, else full
    require_sum: StrictBool = False  # only runs whose updates are summed so


@dataclass(frozen=True, config=STRICT)
class Log:
    """What the node writes down for its operator."""

    audit: AbsolutePath = ""


@dataclass(frozen=True, config=STRICT)
class Policy:
    """All of it."""

    data: Data = field(default_factory=Data)
    allow: Allow = field(default_factory=Allow)
    privacy: Privacy = field(default_factory=Privacy)
    peers: Peers = field(default_factory=Peers)
    log: Log = field(default_factory=Log)

    @property
    def limit(self) -> Limit:
        """What may be spent in the data's lifetime."""
        unit = "person" if self.privacy.unit == "person" else "example"
        return Limit(self.privacy.epsilon, self.privacy.delta, unit)

    @property
    def full_noise(self) -> bool:
        """Whether this node adds all of the noise itself, because it trusts no peer to add the rest.

        Without a roster the server could have invented every peer, so their noise counts only if the operator says so.
        """
        return self.peers.noise == "full" or (self.peers.noise == "auto" and not self.peers.roster)
