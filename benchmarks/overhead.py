"""Is Flower the bottleneck? The demo, and where each client's local round goes.

Prints, for each round, seconds of training in a client's local round and of everything else: laying the parts in,
packing, messages, dispatch, merging, waiting for the round's last client. The rest should be at most a tenth after
the first round. Measuring on the held-out texts is no part of a local round: its seconds stand beside it. At the end,
what memory a worker had.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bract.cli.simulation import cpus
from bract.results.run_folder import read_rows


def main() -> None:
    """Run the demo and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", type=Path, help="take a run folder that is there already")
    options = parser.parse_args()
    if options.run:
        show(options.run)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        command = [sys.executable, "-m", "bract.cli", "run", str(ROOT)]
        config = f"rounds={options.rounds} run.folder={folder}"
        peaks: dict[int, float] = {}
        with subprocess.Popen([*command, "-c", config], stdout=subprocess.DEVNULL) as run:
            while run.poll() is None:
                for worker, used in workers_memory().items():
                    peaks[worker] = max(peaks.get(worker, 0.0), used)
                time.sleep(1)
        if run.returncode:
            sys.exit(run.returncode)
        show(folder)
        print(f"\na worker's memory at its peak: {', '.join(f'{used:.0f} MB' for used in peaks.values())}")


def workers_memory() -> dict[int, float]:
    """MB of every worker of a simulation on this machine, where Linux says so: its share of what it has in common."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may have ended
            if (process / "cmdline").read_bytes().startswith(b"ray::ClientAppActor"):
                lines = (process / "smaps_rollup").read_text().splitlines()
                found[int(process.name)] = (
                    next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
                )
    return found


def show(folder: Path) -> None:
    """The table of a run folder."""
    workers = cpus()
    rows, local_rounds = read_rows(folder / "rounds.jsonl"), read_rows(folder / "clients.jsonl")
    print(f"the demo on {workers} workers; seconds of a worker in a client's local round\n")
    print("round   clients   training   everything else   share of the rest   the round's measuring")
    for row in rows[1:]:
        mine = [one for one in local_rounds if one["round"] == row["round"]]
        training = sum(one["seconds"] for one in mine) / len(mine)
        whole = row["training_seconds"] * min(workers, len(mine)) / len(mine)
        print(
            f"{row['round']:>5}   {len(mine):>7}   {training:>8.3f}   {whole - training:>15.3f}   "
            f"{(whole - training) / whole:>17.1%}   {row['seconds'] - row['training_seconds']:>21.1f}"
        )


if __name__ == "__main__":
    main()
