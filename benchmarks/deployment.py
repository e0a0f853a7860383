"""A round across machines, by part: a SuperLink and two nodes on loopback, the demo with MiniLM.

Prints, for `bract node` and for Flower's own `flower-supernode`, each round's seconds: of the round, of training (the
slowest node's), of measuring, and of all else. And for each train message the seconds from its arrival at the node
to the start of training: until the trainer has taken it, and what it does with it before and after training.
"""

import argparse
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.loopback import BRACT, Loopback
from bract.results.run_folder import read_rows

NODES = 2
TOLD = re.compile(r"(Receiving|answering|Sending)(?:: | a )(train|evaluate) message")
Line = tuple[float, str, str]  # when, which of these words, the message's kind


def main() -> None:
    """Run both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    for kind in ("bract node", "flower-supernode"):
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            show(kind, *deployed(kind, Path(scratch), stack, options.rounds))


def deployed(kind: str, place: Path, stack: ExitStack, rounds: int) -> tuple[Path, list[list[Line]]]:
    """A whole run; its folder, and for each node when it said what."""
    here = Loopback(place, stack)
    here.link()
    said: list[list[Line]] = [[] for _ in range(NODES)]

    def note(into: list[Line], line: str) -> None:
        found = TOLD.search(line)
        if found:
            into.append((time.monotonic(), found[1], found[2]))

    for i in range(NODES):
        here.node(kind, i, NODES, partial(note, said[i]))
    config = f"rounds={rounds} run.folder={place / 'run'} privacy.unit=none"
    here.call(*BRACT, "run", ROOT, "--superlink", "here", "-c", config)
    return place / "run", said


def spans(said: list[Line], kind: str) -> list[dict[str, float]]:
    """For each message of a kind: when it arrived, was taken by a resident trainer, was answered."""
    found: list[dict[str, float]] = []
    for when, word, of in said:
        if of == kind and word == "Receiving":
            found.append({})
        if of == kind and found:
            found[-1][word] = when
    return found


def show(kind: str, folder: Path, said: list[list[Line]]) -> None:
    """The tables of one run."""
    rows, local_rounds = read_rows(folder / "rounds.jsonl")[1:], read_rows(folder / "clients.jsonl")
    print(f"\n{kind}: seconds\n\nround   whole   training   measuring   all else")
    for row in rows:
        training = max(one["seconds"] for one in local_rounds if one["round"] == row["round"])
        told = [spans(lines, "evaluate")[row["round"]] for lines in said]
        measuring = max(one["Sending"] - one["Receiving"] for one in told)
        print(
            f"{row['round']:>5}   {row['seconds']:>5.1f}   {training:>8.1f}   {measuring:>9.1f}   "
            f"{row['seconds'] - training - measuring:>8.1f}"
        )
    print("\nnode   round   until taken   not training, while answering   until Flower sends the answer")
    for i, lines in enumerate(said):
        mine = [one for one in local_rounds if one["partition"] == i]
        for one, at in zip(mine, spans(lines, "train"), strict=True):
            rest = one["busy"] - one["seconds"]
            taken = at.get("answering")  # of Flower's own process only the sum of both waits is known
            until = (taken or at["Sending"] - one["busy"]) - at["Receiving"]
            after = f"{at['Sending'] - taken - one['busy']:.2f}" if taken else "in the first"
            print(f"{i:>4}   {one['round']:>5}   {until:>11.2f}   {rest:>29.2f}   {after:>29}")


if __name__ == "__main__":
    main()
