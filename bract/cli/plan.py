"""`bract plan`: what a set of settings means, before training."""

import argparse
import subprocess
import sys

from bract.cli.options import Commands, add_app, add_run_config, app_settings, default_nodes, positive
from bract.cli.privately import together
from bract.settings.read import read


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("plan", help="what a set of settings means in steps and bytes, before training")
    add_app(parser)
    parser.add_argument("--nodes", type=positive, help="clients (default: as many as the data has)")
    add_run_config(parser)
    parser.set_defaults(command=plan)


def plan(options: argparse.Namespace) -> int:
    """Print the estimate. Methods live on the server's side, which this room does not import: so it is asked."""
    _, overrides, settings = app_settings(options)
    nodes = options.nodes or default_nodes(settings)
    settings = read({**settings.flat(), **together(overrides, settings, nodes)})  # as `bract run` would
    command = [sys.executable, "-P", "-m", "server_app.estimate", str(nodes)]  # -P: not this folder's code
    return subprocess.run(command, input=settings.to_toml(), text=True, check=False).returncode
