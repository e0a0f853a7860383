"""`privacy.json` and `privacy.md`: what a run guarantees, to whom, and what it does not cover."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import bract
from bract.files import write_json, write_text
from bract.privacy.accounting import Use
from bract.privacy.group import SIZES, epsilons_of_groups
from bract.privacy.spending import PrivacySpending
from bract.results.run_folder import RunFolder
from bract.secure_sum.setup import Parameters
from bract.settings.schema import Settings

PERSONAL = (
    "; after the last round trained once more, without noise, for the client's own model alone, which must not leave it"
)
COMMON = [
    "the choice of settings, if it was made by looking at results of other runs on the same data",
    "the label names and the layout of the model, which clients send when they join",
    "side channels: a client says nothing of times, but when its message arrives on the wire tells roughly how many "
    "tokens it drew, and a server that crafts a model can try to make rounding in float32 tell something",
]


# How clients that protect their own data measure.
NOISY = (
    "sums over held-out examples, each clipped, with noise: before training and after each round; none of them is "
    "trained on, and which they are is "
)
HELD_OUT = {
    True: "a hash of each under its node's own key",
    False: "drawn from the run's seed, as this is a simulation",
}
EXACT = (
    "examples that a client holds out, where it measures exactly, as in a simulation or by its operator's word: how "
    "many there are, how many it has right in each round, and their loss, leave without noise; which they are is drawn "
    "from the run's seed in a simulation"
)


EXACT_SUMS = (
    "examples that clients hold out, where they measure exactly, as in a simulation or by their operators' word: sums "
    "over clients of how many there are, how many are right, and their loss, leave without noise"
)


@dataclass(frozen=True)
class Words:
    """What is said of a unit of privacy."""

    relation: str
    sampling: str
    released: Sequence[str]
    shared: str
    kept: str
    not_covered: Sequence[str]


EXAMPLE = Words(
    relation="one example's part in every draw there or not there, the number of examples being known",
    sampling="Poisson, per step, within each client; secret",
    released=[
        "the parts of the adapter that each sampled client sends in each round, computed from noisy sums",
        "each client's sampling rate, which tells its number of examples roughly",
        "that a client took part, abstained or failed, and why, in words that hold nothing of its data",
    ],
    shared="each client's exact number of examples, its training loss, the head's share of it and its times, by "
    "privacy.share-metrics",
    kept="stays with the client; trained under the same clip and noise",
    not_covered=[
        "a client's number of examples, which is taken as known",
        "who took part in which round, which the server sees; no amplification by the sampling of clients is claimed",
        "a person with several examples at a client: what holds for them is said below; with examples at several "
        "clients, their epsilons add up",
        "other runs on the same data: clients' ledgers count those that protect examples, nothing counts those that do "
        "not, such as the second one of bract run --price",
        *COMMON,
    ],
)
PERSON = replace(
    EXAMPLE,
    relation="one person's part in every draw there or not there, the number of persons being known: all examples of "
    "one client that data.user says are one's",
    released=[line.replace("number of examples", "number of persons") for line in EXAMPLE.released],
    sampling="Poisson over persons, per step, within each client; of each at most privacy.per-person examples, drawn "
    "anew in each step; secret",
    not_covered=[
        "a client's number of persons, which is taken as known",
        "a person who goes by several names at a client, or whose examples have none: each of these counts by itself",
        *EXAMPLE.not_covered[1:],
    ],
)
CLIENT = Words(
    relation="one client's part in every round there or not there, the number of clients being known",
    sampling="Poisson, per round, over the clients; secret",
    released=[
        "the factors after each round, which all clients receive and of which the adapter is made: a clipped sum with "
        "noise over a fixed number",
    ],
    shared="each client's exact number of examples and its training loss, to the server, by privacy.share-metrics",
    kept="stays with the client; nothing bounds what it tells, and it is for nobody else",
    not_covered=[
        "anything towards the server, which is trusted: it receives each client's update as it is, draws the noise and "
        "knows who was sampled",
        "the server's own records: clients.jsonl, rounds.jsonl, pictures.jsonl, summary.json, report.html, checkpoint/ "
        "and its log",
        "the head's first values where they are made of label names: one client computes them from the names alone",
        "accuracy and loss on what clients hold out, which are computed without noise: do not publish them",
        "the number of clients, and who of them joined the federation",
        "a person with data at several clients",
        "other runs with the same clients: their epsilons add up, and nobody counts them",
        *COMMON,
    ],
)


# Where the server sees sums alone. Its `released` stands in the place of each unit's own.
SUMS = (
    "in each round the sum over clients of what each sends, and the adapter that is made of it",
    "in each round in which it is measured: how many held-out examples there are, how many are right, and their loss, "
    "all of them summed over clients; no client's own figures are known to anybody but itself",
    "who took part in a round, abstained or failed, and why, in words that hold nothing of its data",
)
SHARED = (
    "wrong results: any client or the server can spoil a round, and no update can be looked into; to spoil one reveals "
    "nothing",
    "more colluding clients than are assumed: they and the server still see no more than the sum of the others, but "
    "with less noise in it than was counted",
)
CLIENT_IN_SUMS = replace(
    CLIENT,
    sampling="each client's own secret coin in each round; who is not drawn sends noise alone",
    shared="",
    not_covered=[
        "the head's first values where they are made of label names: one client computes them from the names alone",
        "accuracy and loss on what clients hold out, which are sums over clients without noise",
        "the number of clients, and who of them joined the federation",
        "a person with data at several clients",
        "other runs with the same clients, but where each client's ledger has them",
        *COMMON,
    ],
)


WORDS = {"example": EXAMPLE, "person": PERSON, "client": CLIENT}


def words_of(settings: Settings) -> Words:
    """What is said of a run's unit of privacy, by who sees what."""
    privacy = settings.privacy
    if settings.federation.sum == "plain":
        return WORDS[privacy.unit]
    words = CLIENT_IN_SUMS if privacy.unit == "client" else WORDS[privacy.unit]
    shared = privacy.noise == "shared"
    sampling = words.sampling
    if shared and privacy.by_clients:
        sampling = sampling.replace("per step", "one draw a round").replace("; secret", "; at one public rate; secret")
    return replace(
        words,
        released=[*SUMS],
        sampling=sampling,
        not_covered=[*words.not_covered, *(SHARED if shared else SHARED[:1])],
    )


def against(settings: Settings, parameters: Parameters | None, roster: bool) -> dict[str, Any] | None:
    """Against whom a run holds whose server sees sums alone; None where it sees each update.

    `roster`: all clients know the others by their operators. Signatures alone tell nothing: a server makes keys, too.
    """
    if settings.federation.sum == "plain" or parameters is None:
        return None
    known = parameters.signed and roster
    server = "active" if known else "honest-but-curious"
    return {
        "server": server if settings.federation.sum == "secure" else "trusted: sums are unmasked",
        "noise": settings.privacy.noise,
        "members": len(parameters.members),
        "colluders": parameters.colluders,
        "survivors": parameters.survivors,
        "honest": parameters.honest,
        "roster": known,
    }


def statement(
    settings: Settings,
    spendings: Mapping[int, PrivacySpending],
    keeps: tuple[str, ...],
    silent: Sequence[int] = (),
    measurings: Mapping[int, PrivacySpending] | None = None,
    *,
    parameters: Parameters | None = None,
    roster: bool = False,
    last: bool = True,
) -> dict[str, Any]:
    """The fields of `privacy.json`: enough to compute every epsilon again with another library.

    `silent`: clients that may have spent and never said so. `measurings`: what clients have spent of what they hold
    out, which are other examples than those that they train on. Before the `last` round, persons' epsilons are left
    out: it takes a second to compute them.
    """
    measured = measurings or {}
    privacy, words = settings.privacy, words_of(settings)
    seeded = bool(privacy.test_seed)
    summed = settings.federation.sum != "plain"
    exactly = (
        not summed and privacy.by_clients and privacy.measuring != "nothing" and not measured.keys() >= spendings.keys()
    )
    kept = words.kept + (PERSONAL if settings.strategy.personal_steps else "")
    return {
        "unit": privacy.unit,
        "relation": words.relation,
        "sampling": words.sampling,
        "accountant": privacy.accountant,
        "versions": {"bract": bract.__version__, **{name: version(name) for name in ("flwr", "dp-accounting")}},
        "delta": privacy.delta,
        "epsilon_target": privacy.epsilon,
        "epsilon_max": None
        if seeded
        else largest_epsilon([*spendings.values(), *measured.values()], silent, privacy.epsilon),
        "group": group(spendings, silent, privacy.delta, known=last and privacy.unit == "example" and not seeded),
        **({"per_person": privacy.per_person} if privacy.unit == "person" else {}),
        "clip": privacy.clip,
        "clip_groups": privacy.clip_groups,
        "noise_source": "a seed, for a test: it protects nothing" if seeded else "AES-256-CTR, keys from the system",
        "released": [
            *words.released,
            *([NOISY + HELD_OUT[settings.data.source == "node"]] if measured else []),
            *([words.shared] if privacy.share_metrics else []),
        ],
        "not_released": [f"{part}: {kept}" for part in keeps],
        "not_covered": [
            *words.not_covered,
            *([EXACT] if exactly else []),
            *(
                [EXACT_SUMS]
                if summed and privacy.by_clients and privacy.measuring != "nothing" and not measured
                else []
            ),
        ],
        **({"against": found} if (found := against(settings, parameters, roster)) is not None else {}),
        "clients": [{"partition": p, **spending.to_json()} for p, spending in sorted(spendings.items())],
        "measuring": [{"partition": p, **spending.to_json()} for p, spending in sorted(measured.items())],
        "silent": list(silent),
    }


def largest_epsilon(spendings: Iterable[PrivacySpending], silent: Sequence[int], target: float) -> float | None:
    """Of all clients, never a mean; None where one is not known. One that is silent has spent the target at most."""
    known = [spending.epsilon for spending in spendings] + ([target] if silent else [])
    numbers = [epsilon for epsilon in known if epsilon is not None]
    return max(numbers) if numbers and len(numbers) == len(known) else None


def group(
    spendings: Mapping[int, PrivacySpending], silent: Sequence[int], delta: float, *, known: bool
) -> dict[str, float | None]:
    """By a person's number of examples at one client, epsilon for the client that spent most; None: not known."""
    epsilons = [spending.epsilon for spending in spendings.values()]
    if not known or silent or not epsilons or any(epsilon is None for epsilon in epsilons):
        return {str(size): None for size in SIZES}
    most = max(spendings.values(), key=lambda spending: spending.epsilon or 0.0)
    found = epsilons_of_groups([Use(sigma, rate, int(steps)) for sigma, rate, steps in most.uses], delta)
    return {str(size): epsilon if math.isfinite(epsilon) else None for size, epsilon in found.items()}


def write(folder: RunFolder, found: Mapping[str, Any]) -> None:
    """Write both files."""
    write_json(folder.path / "privacy.json", found)
    write_text(folder.path / "privacy.md", prose(found))


def prose(found: Mapping[str, Any]) -> str:
    """The statement in words, made of its fields alone."""
    epsilon = found["epsilon_max"]
    if "seed" in found["noise_source"]:
        lead = "**This run protects nothing**: its noise came from a seed."
    elif not found["clients"] and not found["silent"]:
        lead = "No client has trained yet, so nothing was spent."
    elif epsilon is None:
        lead = "**What was spent is not known**: a client did not say."
    else:
        lead = (
            f"For any single {found['unit']}, everything that was released in this run is differentially private with "
            f"ε = {epsilon:.3g} at δ = {found['delta']:g}, for the client that spent most (the target was "
            f"{found['epsilon_target']:g}). The smaller ε, the less can be told; at 8 and above the bound is weak."
            + _trusted(found)
        )
    rows = [
        f"| {c['partition']} | {'-' if c['epsilon'] is None else format(c['epsilon'], '.4g')} | {c['sigma']:g} | "
        f"{c['sample_rate']:.4g} | {c['steps']:g} | {c['rounds']:g} | {c['limit'] or '-'} |"
        for c in found["clients"]
    ]
    return "\n".join(
        [
            "# Privacy of this run\n",
            f"{lead}\n",
            f"- What is protected: {found['unit']}. Relation: {found['relation']}.",
            f"- Sampling: {found['sampling']}. Accountant: {found['accountant']}. Clip: {found['clip']:g} "
            f"({found['clip_groups']}). Noise: {found['noise_source']}.\n",
            *_list("Released", found["released"]),
            *_list("Not released", found["not_released"]),
            *_list("Not covered", found["not_covered"]),
            *_group(found),
            *_unheard(found),
            "Each client: ε spent in this run, noise multiplier, sampling rate, steps in a round, rounds joined,",
            "and the limit that its operator set.\n",
            "| client | ε | σ | q | steps | rounds | limit |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            *_measured(found),
        ]
    )


def _trusted(found: Mapping[str, Any]) -> str:
    """Whom that takes to be honest."""
    who = found.get("against")
    if who is None:
        return " The server is trusted: towards it nothing is private." if found["unit"] == "client" else ""
    server = {
        "active": "a server that may do anything, as every client knows the others by their operators' roster",
        "honest-but-curious": "an honest-but-curious server, which keeps to the protocol: without a roster it could "
        "make up the other clients",
    }.get(who["server"], "everyone but the server, as this run's sums were unmasked")
    rests = ""
    if who["noise"] == "shared":
        rests = (
            f" The noise is made by clients together: of {who['members']}, {who['survivors']} must answer and "
            f"{who['colluders']} may collude with the server, so it rests on {who['honest']} honest ones. A client "
            "whose operator trusts no other adds all of it itself."
        )
    return f" That holds against {server}.{rests}"


def _measured(found: Mapping[str, Any]) -> list[str]:
    """What is said of measuring under noise."""
    if not found["measuring"]:
        return []
    rows = [
        f"| {c['partition']} | {'-' if c['epsilon'] is None else format(c['epsilon'], '.4g')} | {c['sigma']:g} | "
        f"{c['rounds']:g} |"
        for c in found["measuring"]
    ]
    return [
        "Measuring, on examples that are held out and never trained on: ε spent of these, noise multiplier, times.\n",
        "| client | ε | σ | times |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _group(found: Mapping[str, Any]) -> list[str]:
    """What is said of a person with several examples."""
    known = [f"{size}: ε = {epsilon:.3g}" for size, epsilon in found["group"].items() if epsilon is not None]
    if not known:
        return []
    return [
        "For a person with several examples at one client, none of them held out, everything that was released is "
        "private with a larger ε, at the same δ, for the client that spent most. By their number of examples: "
        f"{', '.join(known)}.\n"
    ]


def _unheard(found: Mapping[str, Any]) -> list[str]:
    """What is said of clients that did not answer."""
    late = [f"client {c['partition']}: {c['unheard']:g}" for c in found["clients"] if c.get("unheard")]
    words = []
    if late:
        words.append(f"Rounds in which a client was asked and did not answer, counted as spent: {', '.join(late)}.\n")
    if found["silent"]:
        names = ", ".join(str(partition) for partition in found["silent"])
        words.append(f"Never said what a round costs: client {names}. Its own ledger stops at the target.\n")
    return words


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:\n", *(f"- {line}" for line in lines), ""] if lines else []
