"""The command line put together: a module a command."""

import argparse
import sys
from collections.abc import Sequence

import bract
from bract.cli import compare, keys, ledger, link, node, plan, policy, report, run
from bract.errors import BractError

COMMANDS = (run, plan, node, policy, link, keys, ledger, report, compare)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a fault is one line on standard error and exit code 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["node"], ["link"]) and words[1:2] not in (["-h"], ["--help"], ["--"]):
        words.insert(1, "--")  # all that follows is Flower's
    options = _parser().parse_args(words)
    try:
        return int(options.command(options))
    except BractError as error:
        print(f"bract: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bract: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bract", description="Federated LoRA fine-tuning, on Flower.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"bract {bract.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
