"""`bract node`: a site's SuperNode and its trainer."""

import argparse

from bract.cli.options import Commands, add_flower_words, flower_words
from bract.flower import supernode


def add(commands: Commands) -> None:
    """What the command line takes: a policy, and all that flower-supernode does."""
    parser = commands.add_parser(
        "node",
        help="a SuperNode with a trainer beside it that keeps the model between messages",
        epilog="--policy FILE: what this node's operator allows (bract policy init). Without it, a node with a "
        "data-path has the strict default.",
    )
    add_flower_words(parser, "flower-supernode")
    parser.set_defaults(command=node)


def node(options: argparse.Namespace) -> int:
    """Run until the SuperNode ends; its exit code."""
    return supernode.run(flower_words(options))
