"""`bract policy`: what a node's operator allows, written and explained."""

import argparse
import subprocess
import sys

from bract.cli.options import Commands, add_run_config, overrides_of


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("policy", help="what a node's operator allows: written, explained, held against a run")
    kinds = parser.add_subparsers(required=True, metavar="init|check")
    start = kinds.add_parser("init", help="write a policy with a comment for every choice, to be edited")
    start.add_argument("file", nargs="?", default="node.toml", help="the file to write (default: node.toml)")
    start.add_argument("--data", metavar="FILE", help="the node's data: its path, its columns and its size go in")
    start.set_defaults(command=init)
    held = kinds.add_parser("check", help="say in words what any server could get at most, and what a run would get")
    held.add_argument("file", help="the policy")
    add_run_config(held)
    held.set_defaults(command=check)


def init(options: argparse.Namespace) -> int:
    """Write it; a file that is there is left as it is."""
    return _of_the_node("init", options.file, *([options.data] if options.data else []))


def check(options: argparse.Namespace) -> int:
    """1 where the policy is wrong, or where a run that was given would be declined."""
    import json

    run = [json.dumps(overrides_of(options.run_config))] if options.run_config else []
    return _of_the_node("check", options.file, *run)


def _of_the_node(*words: str) -> int:
    """Policies are the nodes': the code that obeys them reads and explains them."""
    command = [sys.executable, "-P", "-m", "client_app.policy.explain", *words]
    return subprocess.run(command, check=False).returncode
