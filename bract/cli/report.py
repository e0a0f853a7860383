"""`bract report`: a run folder as one HTML page."""

import argparse
from pathlib import Path

from bract.cli.options import Commands
from bract.results.report import pages


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("report", help="write a run folder's report.html")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.set_defaults(command=report)


def report(options: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    print(pages.report(options.run))
    return 0
