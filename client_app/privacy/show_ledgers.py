"""`bract ledger`: what has been spent of the privacy of this machine's data, by which server, and what is left."""

import json
import sys
from pathlib import Path
from typing import Any

from bract.errors import BractError
from bract.files import home
from bract.privacy import lifetime
from bract.privacy.spending import Limit
from client_app.privacy.ledger import Entry, Ledger

UNLIMITED = 1e3  # where no limit is known, what was spent is computed with the orders of a wide one


def main() -> int:
    """Every ledger, as text or as JSON; 1 if one is damaged."""
    delta, as_json = float(sys.argv[1]), sys.argv[2:] == ["json"]
    found: list[dict[str, Any]] = []
    faults = 0
    for path in sorted((home() / "ledger").glob("*.json")):
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
    limit = ledger.limit or Limit(UNLIMITED, delta)
    splits = [entry.split for entry in ledger.entries[-1:]] or [""]
    lanes = {
        lane: lifetime.spent(ledger.uses(lane, splits[0]), limit) for lane in ("train", "holdout") if ledger.entries
    }
    servers: dict[str, list[Entry]] = {}
    for entry in ledger.entries:
        servers.setdefault(entry.server, []).append(entry)
    return {
        "ledger": path.stem,
        "names": ledger.names,
        "examples": len(ledger.digests) or None,
        "limit": None if ledger.limit is None else {"epsilon": ledger.limit.epsilon, "delta": ledger.limit.delta},
        "delta": limit.delta,
        "spent": lanes,
        "servers": [
            {
                "server": server or None,
                "runs": len({entry.federation for entry in entries}),
                "trained": sum(entry.lane == "train" for entry in entries),
                "measured": sum(entry.lane == "holdout" for entry in entries),
                "epsilon": max(
                    lifetime.spent([e.use for e in entries if e.lane == lane], limit) for lane in ("train", "holdout")
                ),
                "last": max(entry.time for entry in entries) or None,
            }
            for server, entries in servers.items()
        ],
    }


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
            f"  {server['server'] or 'a server before names were kept'}: {server['runs']} runs, {server['trained']} "
            f"rounds trained, {server['measured']} times measured, epsilon {server['epsilon']:.4g}"
            f"{', last on ' + server['last'] if server['last'] else ''}"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
