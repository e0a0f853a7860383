"""`bract run`: Flower's own command, made safe.

Flower's command returns 0 for failed runs, loads client code from the folder in which its
SuperLink was started, and leaves that SuperLink running. Here every simulation has its own
SuperLink, in an empty folder, on a free loopback port, that ends with the command; and the
run's own status decides the exit code.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bract.cli.options import Commands, add_app, add_run_config, app_settings, default_nodes, positive
from bract.cli.privately import alone, together, without_privacy
from bract.cli.simulation import resources, simulation
from bract.cli.submit import Connection, flower_environment, submit
from bract.errors import BractError
from bract.results import console
from bract.settings.schema import Settings
from bract.tasks.labels import inline, read_labels


def add(commands: Commands) -> None:
    """What the command line takes."""
    parser = commands.add_parser("run", help="run the app, show progress, judge the outcome")
    add_app(parser)
    parser.add_argument("--nodes", type=positive, help="simulated clients (default: as many as the data has)")
    parser.add_argument(
        "--price",
        action="store_true",
        help="run again without privacy, and with each client's own noise, and say what privacy cost in accuracy",
    )
    parser.add_argument("--superlink", help="a SuperLink connection of Flower's configuration, not a simulation")
    add_run_config(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run the app and show how it goes. Returns 0 only if the run completed.

    With `--price` the same is run again without privacy, to show what privacy costs; and, where clients share the
    noise, with each client's own.
    """
    app, overrides, settings = app_settings(options)
    overrides = with_labels(overrides, settings)
    if options.price and (settings.privacy.unit == "none" or options.superlink or settings.run.resume):
        raise BractError("--price: compares a new private run, in simulation, with one that has privacy.unit = none")
    environment = flower_environment()
    with tempfile.TemporaryDirectory(prefix="bract-") as scratch:
        place = Path(scratch)
        if options.superlink:
            where = ["--superlink", options.superlink]
            console.show_result(submit(app, Connection(options.superlink, environment), overrides, place, [], where))
            return 0
        nodes = options.nodes or settings.federation.nodes or default_nodes(settings)
        if nodes < settings.federation.nodes:
            raise BractError(f"federation.nodes = {settings.federation.nodes}: --nodes starts only {nodes}")
        if more := together(overrides, settings, nodes):
            overrides = {**overrides, **more}
            console.note(
                f"clients share the noise in a secure sum, in {more['rounds']} rounds of one step "
                "(privacy.noise=local: each its own, in rounds of several steps)"
            )
        console.note(f"starting Flower with {nodes} simulated clients; their workers load the model first")
        with simulation(environment, place) as link:
            extra, where = ["--federation-config", resources(nodes)], ["--nodes", str(nodes)]
            folder = submit(app, link, overrides, place, extra, where)
            console.show_result(folder)
            if options.price:
                others = {"without privacy": without_privacy(overrides)}
                if more:
                    others = {"with each client's own noise": alone(overrides), **others}
                folders = {"with a secure sum and shared noise" if more else "with privacy": folder}
                for name, values in others.items():
                    console.note(f"\nonce more {name}, to compare")
                    folders[name] = submit(app, link, values, place, extra, where)
                console.show_price(folders)
    return 0


def with_labels(overrides: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """A list of labels that is a file here goes to nodes as it stands: they read no file that a run names."""
    labels = settings.data.labels
    if settings.data.source != "node" or not labels or inline(labels):
        return dict(overrides)
    read_labels(labels)
    return {**overrides, "data.labels": json.dumps(json.loads(Path(labels).read_text(encoding="utf-8")))}
