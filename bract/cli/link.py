"""`bract link`: a SuperLink that serves other machines as nodes alone."""

import argparse

from bract.cli.options import Commands, add_flower_words, flower_words


def add(commands: Commands) -> None:
    """What the command line takes: all that flower-superlink does."""
    parser = commands.add_parser("link", help="a SuperLink of which other machines reach only what nodes need")
    add_flower_words(parser, "flower-superlink")
    parser.set_defaults(command=link)


def link(options: argparse.Namespace) -> int:
    """Serve until told to end; its exit code."""
    from bract.flower import superlink  # all of Flower's server, which no other command needs

    return superlink.run(flower_words(options))
