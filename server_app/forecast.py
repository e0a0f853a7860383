"""`bract plan`: what a set of settings means in steps and bytes, before anything is trained."""

import sys
import tomllib

from bract import data
from bract.codec import Codec, encoded_size
from bract.errors import BractError
from bract.layout import Layout, Part
from bract.model import build, shape
from bract.partition import Partition
from bract.payload import HEADER
from bract.settings import Settings, flatten, read, steps_of
from server_app.rounds import head_mode
from strategies import Federation, Member, create


def main() -> int:
    """Settings as TOML on standard input, the number of clients as the argument."""
    try:
        settings = read(flatten(tomllib.loads(sys.stdin.read())))
        print("\n".join(forecast(settings, int(sys.argv[1]))))
    except BractError as error:
        print(f"bract: error: {error}", file=sys.stderr)
        return 1
    return 0


def forecast(settings: Settings, clients: int) -> list[str]:
    """The lines that `bract plan` prints."""
    table = data.load(settings.data, settings.seed)
    labels = data.label_set(settings.data, table)
    model_shape = shape(settings, len(labels.names))
    layout = build(model_shape, meta=True).layout
    head = head_mode(settings, model_shape.head_init)
    partition = Partition(table, settings.data, clients, settings.seed)
    shards = [partition.shard(client) for client in range(clients)]
    federation = Federation(
        layout, tuple(Member(i, i) for i in range(clients)), "forecast", settings.seed,
        settings.federation.fraction, head=head,
    )  # fmt: skip
    strategy = create(settings.strategy.name, federation)
    sampled = [strategy.sample(r) for r in range(1, settings.rounds + 1)]
    up = down = values = 0
    for number, members in enumerate(sampled, start=1):
        for member in members:
            plan = strategy.plan(number, member)
            up += _bytes(layout, settings, plan.sends)
            down += _bytes(layout, settings, plan.receives)
            values += sum(layout.size(part) for part in plan.sends)
    turns = sum(len(members) for members in sampled)
    examples = sorted(len(shard.train) for shard in shards)
    steps = [steps_of(settings.train, count) if count else 0 for count in examples]
    plan = strategy.plan(1, Member(0, 0))
    empty = sum(count == 0 for count in examples)
    return [
        f"method     {settings.strategy.name}: trains {_names(plan.trains)}; sends {_names(plan.sends)}; "
        f"keeps {_names(plan.keeps)}",
        f"adapter    {len(layout.modules)} modules x rank {layout.rank} = {layout.slots} slots; A "
        f"{layout.size('A'):,}, B {layout.size('B'):,}, head {layout.size('head'):,} values ({head})",
        f"data       {len(table):,} texts, {len(labels.names)} labels, {clients} clients with {examples[0]} to "
        f"{examples[-1]} examples to train on" + (f"; {empty} with none abstain" if empty else ""),
        f"training   {settings.rounds} rounds, {turns} turns of clients, {steps[0]} to {steps[-1]} steps "
        f"of {settings.train.batch} in a turn",
        f"traffic    up {up // turns:,} bytes a turn ({values // turns:,} values, {settings.wire.codec}), "
        f"{up:,} in all; down {down:,} for training",
    ]


def _bytes(layout: Layout, settings: Settings, parts: tuple[Part, ...]) -> int:
    codec: Codec = settings.wire.codec  # type: ignore[assignment]
    return HEADER.size + sum(encoded_size(codec, layout.widths(part)) for part in parts)


def _names(parts: tuple[str, ...]) -> str:
    return ", ".join(parts) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
