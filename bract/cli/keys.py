"""`bract keys`: certificates and keys of a federation."""

import argparse
from pathlib import Path

from bract.cli.options import Commands, positive
from bract.flower import keys


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("keys", help="make the certificates and keys of a federation")
    made = parser.add_subparsers(required=True, metavar="WHAT")

    of_server = made.add_parser("server", help="the SuperLink's certificate, and an authority that signs it")
    of_server.add_argument("folder", type=Path, help="gets ca.crt, ca.key, server.crt and server.key")
    of_server.add_argument(
        "--host", action="append", required=True, help="a name or address that nodes reach it by; may be given again"
    )
    of_server.add_argument("--days", type=positive, default=365, help="how long it is valid (default: 365)")
    of_server.set_defaults(command=server)

    of_node = made.add_parser("node", help="a SuperNode's key: made where it is used")
    of_node.add_argument("path", type=Path, help="the private key; the public one gets .pub behind its name")
    of_node.set_defaults(command=node)

    of_all = made.add_parser("roster", help="the public keys of all nodes in one file, for the policy of each")
    of_all.add_argument("out", type=Path, help="the roster")
    of_all.add_argument("public", type=Path, nargs="+", metavar="KEY.pub", help="a node's public key")
    of_all.set_defaults(command=roster)


def server(options: argparse.Namespace) -> int:
    """Make the SuperLink's certificate and say where the files belong."""
    keys.server(options.folder, options.host, options.days)
    print(f"{options.folder}/ca.crt goes to every node; {options.folder}/ca.key belongs on none of their machines")
    return 0


def node(options: argparse.Namespace) -> int:
    """Make a node's key and say where the files belong."""
    keys.node(options.path)
    print(f"register {options.path}.pub at the SuperLink before the node starts; {options.path} stays here")
    return 0


def roster(options: argparse.Namespace) -> int:
    """Put the nodes' public keys into one file and say where it belongs."""
    shown = keys.roster(options.out, options.public)
    print(
        f"give {options.out} to every node's operator by a way that is not the server, and let them compare its "
        f"fingerprint: {shown}"
    )
    return 0
