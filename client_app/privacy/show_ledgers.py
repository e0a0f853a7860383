"""`bract ledger`: what has been spent of the privacy of this machine's data, by which server, and what is left."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.files import home
from bract.privacy import lifetime
from bract.privacy.accounting import Use
from bract.privacy.spending import Limit
from client_app.privacy.ledger import LANES, Entry, Ledger

SUPPOSED = (2.0, 8.0, 32.0)  # limits whose orders tell what was spent where no limit is known: the least of the three


def main() -> int:
    """Every ledger, as text or as JSON; 1 if one is damaged."""
    delta, as_json = float(sys.argv[1]), sys.argv[2:] == ["json"]
    found: list[dict[str, Any]] = []
    faults = 0
    # One that is gone from beside its count is named, too.
    beside = (home() / "ledger").glob("*.*")
    for path in sorted({path.with_suffix(".json") for path in beside if path.suffix in (".json", ".seq")}):
        try:
            found.append(told(path, delta))
        except BractError as error:
            print(f"bract: error: {error}", file=sys.stderr)
            faults = 1
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        print("\n\n".join("\n".join(lines(one)) for one in found))
    elif not faults:
        print(f"no ledger under {home() / 'ledger'}: no private training has taken place here")
    return faults


def told(path: Path, delta: float) -> dict[str, Any]:
    """What is known of one body of data."""
    ledger = Ledger(path)
    limits = [ledger.limit] if ledger.limit else [Limit(e, delta, unit_of(ledger)) for e in SUPPOSED]
    unit, split = limits[0].unit, ledger.entries[-1].split if ledger.entries else ""

    def spent(uses: list[Use]) -> float:
        return min(lifetime.spent(uses, limit) for limit in limits)

    servers: dict[str, list[Entry]] = {}
    for entry in ledger.entries:
        servers.setdefault(entry.server, []).append(entry)
    return {
        "ledger": path.stem,
        "names": ledger.names,
        "examples": len(ledger.digests) or None,
        "limit": None if ledger.limit is None else asdict(ledger.limit),
        "delta": limits[0].delta,
        "spent": {lane: spent(ledger.uses(lane, split, unit)) for lane in LANES if ledger.entries},
        "servers": [
            {
                "server": server or None,
                "runs": len({entry.federation for entry in entries}),
                "trained": sum(entry.lane == "train" for entry in entries),
                "measured": sum(entry.lane == "holdout" for entry in entries),
                "epsilon": max(spent([e.counted(unit) for e in entries if e.lane == lane]) for lane in LANES),
                "last": max(entry.time for entry in entries) or None,
            }
            for server, entries in servers.items()
        ],
    }


def unit_of(ledger: Ledger) -> str:
    """For what is told where no limit says it: for persons, if all that was done protects them."""
    return "person" if {entry.unit for entry in ledger.entries} == {"person"} else "example"


def lines(one: dict[str, Any]) -> list[str]:
    """The same for a reader."""
    name = ", ".join(one["names"]) or one["ledger"]
    examples = "" if one["examples"] is None else f", {one['examples']} examples and persons known by their digests"
    found = [f"{name}{examples}"]
    if one["limit"] is None:
        found.append(f"  no limit for its life is known; what was spent is at delta {one['delta']:g}")
    for lane, spent in one["spent"].items():
        what = "trained on" if lane == "train" else "held out"
        left = ""
        if one["limit"] is not None:
            most = one["limit"]["epsilon"]
            left = f" of {most:g} at delta {one['delta']:g}, {max(0.0, most - spent):.3g} left"
        found.append(f"  examples that are {what}: epsilon {spent:.4g}{left}")
    for server in one["servers"]:
        found.append(
            f"  {server['server'] or 'a server whose name was not kept'}: {server['runs']} runs, {server['trained']} "
            f"rounds trained, {server['measured']} times measured, epsilon {server['epsilon']:.4g}"
            f"{', last on ' + server['last'] if server['last'] else ''}"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
