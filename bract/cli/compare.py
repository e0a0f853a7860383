"""`bract compare`: several runs side by side."""

import argparse
from pathlib import Path

from bract.cli.options import Commands
from bract.results.report import pages


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("compare", help="several runs side by side on one page")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("-o", "--output", type=Path, default=Path("compare.html"), help="page to write")
    parser.set_defaults(command=compare)


def compare(options: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    print(pages.compare(options.runs, options.output))
    return 0
