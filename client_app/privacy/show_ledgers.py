"""`bract ledger`: what has been spent of the privacy of this machine's data."""

import sys
from itertools import groupby
from pathlib import Path

from bract.errors import BractError
from bract.files import home
from client_app.privacy.ledger import Ledger


def main() -> int:
    """A line for every ledger, and one for each of its runs; 1 if one is damaged."""
    delta, faults = float(sys.argv[1]), 0
    paths = sorted((home() / "ledger").glob("*.json"))
    if not paths:
        print(f"no ledger under {home() / 'ledger'}: no private training has taken place here")
    for path in paths:
        try:
            print("\n".join(lines(path, delta)))
        except BractError as error:
            print(f"bract: error: {error}", file=sys.stderr)
            faults = 1
    return faults


def lines(path: Path, delta: float) -> list[str]:
    """Epsilon of the data's whole life, and of each run."""
    ledger = Ledger(path)
    found = [f"{path.stem}: epsilon {ledger.spent(delta):.4g} at delta {delta:g}, {len(ledger.entries)} rounds"]
    for federation, entries in groupby(ledger.entries, key=lambda entry: entry.federation):
        rounds = [entry.round for entry in entries]
        found.append(
            f"  run {federation}: epsilon {ledger.spent(delta, federation):.4g}, rounds {min(rounds)} to {max(rounds)}"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
