"""`bract plan`: what a set of settings means, before training."""

import argparse
import subprocess
import sys

from bract.cli.options import Commands, add_app, add_run_config, app_settings, default_nodes, positive


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("plan", help="what a set of settings means in steps and bytes, before training")
    add_app(parser)
    parser.add_argument("--nodes", type=positive, help="clients (default: as many as the data has)")
    add_run_config(parser)
    parser.set_defaults(command=plan)


def plan(options: argparse.Namespace) -> int:
    """Print the estimate. Methods live on the server's side, which this room does not import: so it is asked."""
    _, _, settings = app_settings(options)
    nodes = str(options.nodes or default_nodes(settings))
    command = [sys.executable, "-P", "-m", "server_app.estimate", nodes]  # -P: not this folder's code
    return subprocess.run(command, input=settings.to_toml(), text=True, check=False).returncode
