"""`bract policy`: a policy to begin with, and in words what it lets any server have."""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bract.data.tables import read_rows
from bract.errors import BractError, PublicError
from bract.flower.roster import fingerprint, read_roster
from bract.models.base_model import MINILM_FINGERPRINT
from bract.settings.read import read
from client_app.policy.judge import measuring_of, require_allowed
from client_app.policy.policy import Policy
from client_app.policy.reading import parsed, read_file, words_of

LOOSER = 1.5  # times its own epsilon that a usual run takes of a life, at most (`benchmarks/lifetime.py`)
EXACTLY = "their exact number"
FEWEST = 3  # members of a secure sum

NOT_A_NAME = re.compile(r"[^\w .:-]")

DRAFT = """\
# What this node's operator allows. No server can change any of it. A line that is left out has the value that it has
# here; `bract policy check {file}` says in words what the whole means.

[data]
name = {name} # the dataset's own name: what is spent of its privacy is kept under it
path = {path}
text = "text"                # the columns that are meant; a run's own names for them are not looked at
label = "label"
# user = "patient"           # whose a row is: then a person's rows are all trained on or all held out, and a run may
                             # protect persons (privacy.unit = person)
labels = "from-run"          # the names that the run brings; or your own list: ["asthma", "other"]. Rows with another
                             # label are left out, and nobody is told
holdout = 0.2                # the share of examples that is measured on and never trained on
{examples}# how many rows a server may take the file to have; 0: their exact number
# persons = 300              # the same of persons, where they are protected

[allow]
tasks = ["classify"]
largest-rank = 64
smallest-batch = 1

[allow.models]               # base models, with the fingerprint of their weights (a run prints it)
minilm = "{minilm}"

[privacy]
unit = "example"             # the least that a run must protect: "person", "example", "client" (then the server sees
                             # your update and is trusted), "none"
epsilon = 11.0               # what may be spent of this data in its whole life, by all servers together: one
                             # run of epsilon 8 (its own target is counted more tightly than a life)
delta = 1e-5
# largest-delta = 1e-6       # of a run; left out: a tenth of one in the number of rows
measuring = "noisy"          # what held-out examples tell: "nothing", "noisy" (paid for like training), "exact"
exact-metrics = false        # whether exact numbers of examples and losses of training may leave
timing = "nobody"            # or "server": whether replies say how long they took

[peers]                      # the other members of a secure sum (federation.sum = secure): the server learns the total
# roster = "/etc/bract/roster" # the public keys of all members (bract keys roster), not from the server: without it the
                             # server could invent the other members
colluders = 1                # how many members, at least, are taken to help the server
honest = 2                   # how many others, at least, must be left in every sum (survivors - colluders)
noise = "auto"               # "full": this node trusts no peer and adds all of the noise itself; "shared": it adds
                             # its share, and the honest members the rest; "auto": shared with a roster, else full
require-sum = false          # true: runs without a secure sum are declined

[log]
# audit = "/var/log/bract.jsonl"   # a line for every message: who asked for what, and what left
"""


def main() -> int:
    """Do what the words say; a fault is one line, and 1."""
    kind, path, *more = sys.argv[1:]
    try:
        return init(Path(path), more) if kind == "init" else check(Path(path), more)
    except BractError as error:
        print(f"bract: error: {error}", file=sys.stderr)
        return 1


def init(path: Path, more: Sequence[str]) -> int:
    """Write a policy that is its own explanation, with the numbers of the data where these are named."""
    data = Path(more[0]).resolve() if more else None
    rows = read_rows(data, "--data") if data else {}
    count = len(next(iter(rows.values()), []))
    rounded = int(float(f"{count:.1g}")) if count else 0
    text = DRAFT.format(
        file=path,
        name=json.dumps(NOT_A_NAME.sub("-", data.stem)[:80] if data else "my-data", ensure_ascii=False).ljust(21),
        path=json.dumps(str(data or "/data/examples.csv"), ensure_ascii=False),
        examples=f"examples = {rounded}".ljust(29),
        minilm=MINILM_FINGERPRINT,
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BractError(f"{path} is there already; it is left as it is") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"{path} written: edit it, then bract policy check {path}")
    if data:
        lacking = [name for name in ("text", "label") if name not in rows]
        print(f"the columns of {data}: {', '.join(rows)}; rows: {count}")
        if lacking:
            print(f"it has no column {' and no column '.join(lacking)}: name the ones that are meant")
    return 0


def check(path: Path, more: Sequence[str]) -> int:
    """Explain a policy, and hold a run against it."""
    policy = parsed(words_of(read_file(path)), str(path))
    if not policy.data.path:
        raise BractError(f"{path}: data-path should be the absolute path of the node's data")
    print("\n".join(explained(policy)))
    require_columns(policy)
    require_members(policy)
    if not more:
        return 0
    print()
    settings = read({"data.source": "node", **json.loads(more[0])})
    try:
        require_allowed(policy, settings)
    except PublicError as error:
        print(f"This run would be declined. {error}")
        return 1
    if settings.privacy.by_clients and LOOSER * settings.privacy.epsilon > policy.privacy.epsilon:
        print(
            f"Its epsilon of {settings.privacy.epsilon:g} may not fit: as the life of the data is counted, a run takes "
            f"1.1 to {LOOSER:g} times its own, and {policy.privacy.epsilon:g} is allowed. Later rounds are left out."
        )
    print("This run would be taken part in. Its server gets:")
    for line in gets(
        replace(policy, privacy=replace(policy.privacy, unit=settings.privacy.unit)), measuring_of(policy, settings)
    ):
        print(f"  - {line}")
    return 0


def require_columns(policy: Policy) -> None:
    """Where the file can be read here: whether it has the columns that the policy names."""
    data = policy.data
    if not Path(data.path).is_file():
        print(f"\nThere is no file {data.path} here, so its columns were not looked at.")
        return
    there = read_rows(Path(data.path), "data-path", lenient=True)
    lacking = [name for name in (data.text, data.label, data.user) if name and name not in there]
    if lacking:
        raise BractError(f"{data.path} has no column {' and no column '.join(lacking)}; it has {', '.join(there)}")


def require_members(policy: Policy) -> None:
    """Where the roster can be read here: whose fingerprint it has, and whether its members are enough for a sum."""
    peers = policy.peers
    if not peers.roster:
        return
    if not Path(peers.roster).exists():
        print(f"\nThere is no file {peers.roster} here, so its keys were not looked at.")
        return
    members = read_roster(Path(peers.roster))
    print(f"\nThe roster has {len(members)} members and the fingerprint {fingerprint(members)}.")
    least = peers.colluders + peers.honest
    if len(members) < max(least, FEWEST):
        raise BractError(
            f"{peers.roster} has {len(members)} members: with peers-colluders = {peers.colluders} and peers-honest = "
            f"{peers.honest} no sum has fewer than {max(least, FEWEST)}"
        )


def explained(policy: Policy) -> list[str]:
    """What any server could get at most, what it is told, and what it is refused."""
    data, allow, privacy = policy.data, policy.allow, policy.privacy
    columns = [
        f"{what} = {name!r}" for what, name in (("text", data.text), ("label", data.label), ("user", data.user)) if name
    ]
    least = {"none": "nothing", "client": "whole clients, by a server that is trusted", "example": "each example"}
    labels = "which of its own list this node takes: all" if data.labels == "from-run" else ", ".join(data.labels)
    return [
        f"Data {data.name or '(without a name)'}: {data.path}, columns {', '.join(columns)}.",
        f"Held out and never trained on: {data.holdout:g} of it.",
        "",
        "At most, any server gets:",
        *[f"  - {line}" for line in gets(policy, privacy.measuring)],
        "",
        "It is told, because you say that it is public:",
        f"  - labels: {labels}",
        f"  - rows: {data.examples or EXACTLY}",
        *([f"  - persons: {data.persons or EXACTLY}"] if data.user else []),
        "",
        "Where a run sums the updates of several nodes so that the server learns the total alone (a secure sum):",
        *[f"  - {line}" for line in with_peers(policy)],
        "",
        "It is refused:",
        f"  - runs that protect less than {least.get(privacy.unit, 'each person')}",
        f"  - tasks but {', '.join(allow.tasks)}; base models but {', '.join(allow.models) or 'none'}; ranks above "
        f"{allow.largest_rank}; batches below {allow.smallest_batch}",
        *(["  - runs without a secure sum (federation.sum = secure)"] if policy.peers.require_sum else []),
        "  - columns, files, paths and exact figures; every fault but its number in this node's log",
    ]


def with_peers(policy: Policy) -> list[str]:
    """What the node takes its peers in a secure sum to be, and what its own data's protection rests on."""
    peers = policy.peers
    if peers.roster:
        lines = [f"its members are those whose keys stand in {peers.roster}; the server can add none"]
    else:
        lines = ["its members are whom the server names, and it could invent all but this node: there is no roster"]
    lines.append(
        f"{peers.colluders} of them or more are taken to help the server, and {peers.honest} or more others must be "
        "left in every sum"
    )
    if policy.full_noise:
        lines.append("this node adds all of the noise itself: epsilon holds whatever the other members are")
    else:
        lines.append(
            "this node adds only its share of the noise: epsilon holds if there are no more helpers of the server than "
            "the run counts with, and the others add theirs"
        )
    return lines


def gets(policy: Policy, measuring: str) -> list[str]:
    """What leaves, a line a kind."""
    privacy = policy.privacy
    if privacy.unit in ("none", "client"):
        lines = ["updates computed from your data as they are: nothing bounds what they tell a server"]
    else:
        each = "person" if privacy.unit == "person" else "example"
        lines = [
            f"updates with noise: over the data's life epsilon {privacy.epsilon:g} at delta {privacy.delta:g} for each "
            f"{each}, all servers together; after that nothing"
        ]
    words = {
        "nothing": "nothing of held-out examples",
        "noisy": "sums over held-out examples with noise, within the same epsilon (of other examples)",
        "exact": "exact counts and losses of held-out examples, which nothing bounds",
    }
    lines.append(words[measuring if privacy.unit in ("example", "person") or measuring == "nothing" else "exact"])
    if privacy.exact_metrics:
        lines.append("exact numbers of examples and losses of training, which nothing bounds")
    if privacy.timing == "server":
        lines.append("how long this node took, which tells roughly what was drawn")
    return lines


if __name__ == "__main__":
    sys.exit(main())
