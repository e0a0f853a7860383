"""Is Flower the bottleneck? The demo, and where each client's turn goes.

Prints, for each round, seconds of training in a client's turn and of everything else: laying the
parts in, packing, messages, dispatch, waiting for the round's last client. After the first round,
in which the workers load the model, the rest should be at most a tenth.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bract.launch import cpus  # noqa: E402
from bract.runfolder import read_rows  # noqa: E402


def main() -> None:
    """Run the demo and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    workers = cpus()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        command = [sys.executable, "-m", "bract.cli", "run", str(ROOT)]
        config = f"rounds={rounds} run.folder={folder}"
        subprocess.run([*command, "-c", config], check=True, stdout=subprocess.DEVNULL)
        rows, turns = read_rows(folder / "rounds.jsonl"), read_rows(folder / "clients.jsonl")
    print(f"the demo on {workers} workers; seconds of a worker in a client's turn\n")
    print("round   clients   training   everything else   share of the rest")
    for row in rows[1:]:
        mine = [turn for turn in turns if turn["round"] == row["round"]]
        training = sum(turn["seconds"] for turn in mine) / len(mine)
        whole = row["training_seconds"] * min(workers, len(mine)) / len(mine)
        print(
            f"{row['round']:>5}   {len(mine):>7}   {training:>8.3f}   {whole - training:>15.3f}   "
            f"{(whole - training) / whole:>17.1%}"
        )


if __name__ == "__main__":
    main()
