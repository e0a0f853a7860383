"""`bract plan`: what a set of settings means in steps and bytes, before anything is trained."""

import sys
import tomllib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bract.adapter.layout import Layout, Part
from bract.data import tables
from bract.data.partition import Partition
from bract.errors import BractError
from bract.privacy.group import epsilons_of_groups
from bract.privacy.mechanism import find, find_for_clients
from bract.secure_sum.neighbours import degree
from bract.secure_sum.rounds import RoundOfSum, mechanism_of
from bract.secure_sum.setup import KEY, SEALED, Parameters
from bract.secure_sum.shamir import SHARE
from bract.secure_sum.vector import HEADER as WORDS_HEADER
from bract.settings.flat import flatten
from bract.settings.methods import method_of
from bract.settings.read import read
from bract.settings.schema import Settings
from bract.settings.steps import Before, steps_in_round
from bract.tasks.registry import task_of
from bract.wire.codec import encoded_size
from bract.wire.messages import NPY_HEADER
from bract.wire.payload import HEADER
from bract.wire.plan import Plan
from server_app.layouts import layout_of
from strategies import Federation, Member, create
from strategies.federation import head_mode
from strategies.ranks import assign


def main() -> int:
    """Settings as TOML on standard input, the number of clients as the argument."""
    try:
        settings = read(flatten(tomllib.loads(sys.stdin.read())))
        for line in estimate(settings, int(sys.argv[1])):
            print(line, flush=True)
    except BractError as error:
        print(f"bract: error: {error}", file=sys.stderr)
        return 1
    return 0


def estimate(settings: Settings, clients: int) -> Iterator[str]:
    """The lines that `bract plan` prints, each as soon as it is known."""
    task = task_of(settings.model.task)
    table = tables.load(settings.data, settings.seed, task)
    outputs = task.outputs(settings.data, table, tables.described(settings.data))
    layout, head_init = layout_of(settings, outputs.size)
    head = head_mode(settings, head_init)
    partition = Partition(table, settings.data, clients, settings.seed)
    shards = [partition.shard(client) for client in range(clients)]
    everyone = assign([Member(i, i) for i in range(clients)], settings, len(layout.modules), clients)
    federation = Federation(
        layout,
        everyone,
        "estimate",
        settings.seed,
        settings.federation.fraction,
        task=task,
        head=head,
        strategy=settings.strategy,
        summed=settings.federation.sum != "plain",
    )
    strategy = create(settings.strategy.name, federation)
    sampled = [strategy.sample(r) for r in range(1, settings.rounds + 1)]
    up = down = values = 0
    for number, members in enumerate(sampled, start=1):
        for member in members:
            plan = strategy.plan(number, member)
            carried = plan.carried
            down += _bytes(layout, settings, plan.receives, carried)
            counts = [count for _, count in (directive.expects() for directive in plan.do) if count is not None]
            if counts:  # which slots is not known before: so many of middling width
                carried = _middling(layout, plan.sends, counts[0])
            up += _bytes(layout, settings, plan.sends, carried, clients)
            values += sum(layout.size(part, carried) for part in plan.sends)
    local_rounds = sum(len(members) for members in sampled)
    persons = table.persons if settings.privacy.unit == "person" else None
    examples = sorted(len(shard.train) if persons is None else len(np.unique(persons[shard.train])) for shard in shards)
    plan, later = strategy.plan(1, everyone[0]), strategy.plan(2, everyone[0])
    private, what = settings.privacy.by_clients, "examples" if persons is None else "persons"
    steps = [steps_in_round(settings.train, count, plan.do, private=private) for count in examples]
    before = [
        (one.steps_called, [steps_in_round(settings.train, n, [one], private=private).before for n in examples])
        for one in plan.do
        if one.steps(settings.train, 1)
    ]
    sure = {directive.expects()[0] for directive in (*plan.do, *later.do)} - {""}
    about = f"{min(sure)} " if sure else ""
    empty = sum(count == 0 for count in examples)
    yield from [
        f"method     {settings.strategy.name}: trains {_names(plan.trains)}; sends {_names(plan.sends)}; "
        f"keeps {_names(plan.keeps)}" + ("" if later.trains == plan.trains else " (round 1)"),
        f"adapter    {len(layout.modules)} modules x rank {layout.rank} = {layout.slots} slots; A "
        f"{layout.size('A'):,}, B {layout.size('B'):,}, head {layout.size('head'):,} values ({head})",
        *ranks_line(everyone, settings),
        f"data       {len(table):,} texts, {outputs.size} {'labels' if outputs.names else 'outputs'}, {clients} "
        f"clients with {examples[0]} to {examples[-1]} {what} to train on"
        + (f"; {empty} with none abstain" if empty else ""),
        f"training   {settings.rounds} rounds, {local_rounds} local rounds, {steps[0].training} to "
        f"{steps[-1].training} steps of {settings.train.batch} in each"
        + "".join(f", after {name} of {counts[0]} to {counts[-1]}" for name, counts in before),
        *privacy_of(settings, clients, layout, plan, [count for count in examples if count]),
        f"traffic    up {about}{up // local_rounds:,} bytes a local round ({values // local_rounds:,} values, "
        f"{settings.wire.codec}), {up:,} in all; down {down:,} for training",
    ]
    if settings.federation.sum != "plain":
        yield from sum_lines(settings, clients)
    if settings.privacy.unit == "example" and settings.privacy.noise == "local":
        yield person_line(settings, min(count for count in examples if count), plan.do)


def privacy_of(settings: Settings, clients: int, layout: Layout, plan: Plan, examples: Sequence[int]) -> list[str]:
    """Noise and epsilon, by who adds the noise."""
    values = sum(layout.size(part) for part in plan.sends)
    if settings.privacy.noise == "shared" and settings.privacy.unit != "none":
        return shared_privacy_lines(settings, clients, values, examples, plan.do)
    if settings.privacy.unit == "client":
        return client_privacy_lines(settings, clients, values)
    return privacy_lines(settings, examples, plan.do)


def shared_privacy_lines(
    settings: Settings, clients: int, values: int, examples: Sequence[int], before: Sequence[Before]
) -> list[str]:
    """Noise and epsilon by round where clients share the noise; and what it would be if each added all of its own."""
    privacy, rounds, federation = settings.privacy, settings.rounds, settings.federation
    found = mechanism_of(settings, clients)
    sums = _parameters(settings, clients)
    shown = sorted({round(1 + i * (rounds - 1) / 5) for i in range(6)})
    share = found.sigma * found.clip / sums.honest**0.5
    divisor = clients * (federation.fraction if privacy.unit == "client" else settings.train.batch)
    length = share * clients**0.5 * values**0.5 / divisor
    lines = [
        f"privacy    each {privacy.unit}, by noise that clients share: epsilon {privacy.epsilon:g} at delta "
        f"{privacy.delta:g} over {rounds} rounds; clip {privacy.clip:g}, {privacy.accountant}",
        f"noise      multiplier {found.sigma:g} for the sum at a rate of {found.rate:.3g}, of which each client adds "
        f"{share / found.clip:.3g}; a round's mean has noise {length:.3g} long",
        f"honest     of {clients} clients {sums.survivors} must answer and {sums.colluders} may collude, so "
        f"{sums.honest} shares are certain; were all {clients}, each would add {found.sigma / clients**0.5:.3g}: "
        f"{(clients / sums.honest) ** 0.5:.2f} times the noise is their price",
        f"epsilon    by rounds: {', '.join(f'{n}: {found.spent(n):.2f}' for n in shown)}",
    ]
    if privacy.by_clients:
        alone = find(privacy, settings.train, min(examples), rounds, before)
        lines.append(
            f"local      with privacy.noise = local the smallest client's multiplier would be {alone.sigma:g}: "
            f"{alone.sigma * found.clip / share:.2f} times the noise in the mean"
        )
        drawn = settings.train.rate * sum(examples) / len(examples)
        if not 0.5 < drawn / settings.train.batch < 2:
            lines.append(
                f"           train.rate draws {drawn:.0f} examples a step from the middling client, and sums are "
                f"divided as if they were train.batch = {settings.train.batch}"
            )
    return lines


def sum_lines(settings: Settings, clients: int) -> list[str]:
    """What a sum that nobody sees into takes beside its words."""
    if settings.federation.sum == "unmasked":
        return ["sum        without masks: the server sees each client's numbers"]
    sums = _parameters(settings, clients, settings.rounds + 1)
    others = degree(clients, sums.colluders, sums.survivors)[0]
    rounds = sums.rounds
    keys, boxes = 2 + KEY * (1 + 2 * rounds), others * rounds * SEALED
    return [
        f"sum        secure: {sums.survivors} of {clients} must answer, {sums.threshold} help to recover what is lost"
        + (f"; each shares with {others} neighbours" if others < clients - 1 else ""),
        f"           a set-up for {rounds} rounds takes 2 messages to each: {keys:,} and {boxes:,} bytes up, "
        f"{clients * keys:,} down; a round 2 (3 with a roster): beside the words {(others + 1) * SHARE:,} up, "
        f"{others * SEALED:,} down",
    ]


def client_privacy_lines(settings: Settings, clients: int, values: int) -> list[str]:
    """Noise and epsilon by round, where the server protects whole clients."""
    privacy, rounds = settings.privacy, settings.rounds
    found = find_for_clients(privacy, clients, settings.federation.fraction, rounds)
    shown = sorted({round(1 + i * (rounds - 1) / 5) for i in range(6)})
    length = found.sigma * found.clip * values**0.5 / found.batch
    return [
        f"privacy    each client, by a server that is trusted: epsilon {privacy.epsilon:g} at delta {privacy.delta:g} "
        f"over {rounds} rounds; clip {privacy.clip:g}, {privacy.accountant}",
        f"noise      multiplier {found.sigma:g}; clients are sampled at {found.rate:.3g} a round, and their sum "
        f"is divided by {found.batch:g}",
        f"           a round's mean has noise {length:.3g} long on an update at most {privacy.clip:g} long",
        f"epsilon    by rounds: {', '.join(f'{n}: {found.spent(n):.2f}' for n in shown)}",
    ]


def privacy_lines(settings: Settings, examples: Sequence[int], before: Sequence[Before]) -> list[str]:
    """Noise and epsilon by round, for the clients with the fewest and the most examples."""
    privacy = settings.privacy
    if privacy.unit == "none":
        return ["privacy    none: nothing bounds what a client's parts tell about its data (privacy.unit)"]
    rounds = privacy.joins or settings.rounds
    least, most = (find(privacy, settings.train, count, rounds, before) for count in (min(examples), max(examples)))
    shown = sorted({round(1 + i * (rounds - 1) / 5) for i in range(6)})
    by_round = ", ".join(f"{n}: {least.spent(n):.2f}" for n in shown)
    return [
        f"privacy    each {privacy.unit}, epsilon {privacy.epsilon:g} at delta {privacy.delta:g} over {rounds} rounds "
        f"joined; clip {privacy.clip:g}, {privacy.accountant}",
        f"noise      multiplier {most.sigma:g} to {least.sigma:g}; sampling rate {most.rate:.3g} to {least.rate:.3g} "
        "a step",
        f"epsilon    by rounds joined, for the smallest client: {by_round}",
    ]


def person_line(settings: Settings, examples: int, before: Sequence[Before]) -> str:
    """What is left for a person with several examples at the client with the fewest."""
    rounds = settings.privacy.joins or settings.rounds
    found = find(settings.privacy, settings.train, examples, rounds, before)
    groups = epsilons_of_groups([found.use(rounds)], settings.privacy.delta)
    sizes, epsilons = "/".join(map(str, groups)), ", ".join(f"{value:.3g}" for value in groups.values())
    return f"person     one with {sizes} examples at the smallest client: epsilon {epsilons}"


def ranks_line(members: Sequence[Member], settings: Settings) -> list[str]:
    """What unequal clients carry; nothing where all carry all."""
    method = method_of(settings.strategy.name)
    if not method.unequal:
        return []
    ranks = [member.rank for member in members]
    what = "selects of its slots, as ranks a module" if method.ranks == "budget" else "carries of the ranks"
    low, high = min(ranks), max(ranks)
    return [
        f"clients    each {what}: {low:g}"
        + (f" to {high:g}, {sum(ranks) / len(ranks):.3g} on average" if high > low else "")
    ]


def _parameters(settings: Settings, clients: int, rounds: int = 1) -> Parameters:
    """Of a sum over so many clients."""
    asked = settings.federation
    return Parameters.of("0", 0, range(clients), 1, rounds, colluders=asked.colluders, survivors=asked.survivors)


def _bytes(
    layout: Layout,
    settings: Settings,
    parts: tuple[Part, ...],
    slots: NDArray[np.int64] | None,
    words: int = 0,
) -> int:
    """Of a message's array; with `words`, of that of so many members' words of a sum."""
    if words and settings.federation.sum != "plain":
        honest = _parameters(settings, words).honest
        of = RoundOfSum.of(settings, words, honest, sum(layout.size(part, slots) for part in parts))
        return NPY_HEADER + WORDS_HEADER.size + of.shape(layout, task_of(settings.model.task)).size
    bitmap = 0 if slots is None else (layout.slots + 7) // 8
    rows = {
        part: layout.widths(part) if slots is None or part == "head" else layout.widths(part)[slots] for part in parts
    }
    values = sum(encoded_size(settings.wire.codec, widths) for widths in rows.values())
    return NPY_HEADER + HEADER.size + bitmap + values


def _middling(layout: Layout, parts: tuple[Part, ...], count: int) -> NDArray[np.int64]:
    """So many slots whose widths are spread as those of all."""
    order = np.argsort(layout.widths(parts[0]), kind="stable")
    return np.asarray(np.sort(order[((np.arange(count) + 0.5) * len(order) / count).astype(int)]))


def _names(parts: tuple[str, ...]) -> str:
    return ", ".join(parts) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
