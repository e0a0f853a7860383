"""`bract ledger`: what has been spent of the privacy of this machine's data."""

import argparse
import subprocess
import sys

from bract.cli.options import Commands


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("ledger", help="what has been spent of the privacy of this machine's data")
    parser.add_argument(
        "--delta",
        type=float,
        default=1e-5,
        help="the delta at which epsilon is given where no limit is known (default: 1e-5)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.set_defaults(command=ledger)


def ledger(options: argparse.Namespace) -> int:
    """Print all ledgers. They are the clients': the code that writes them reads them."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "client_app.privacy.show_ledgers",
        str(options.delta),
        *(["json"] if options.json else []),
    ]
    return subprocess.run(command, check=False).returncode
