"""The command line: `bract run`, `plan`, `node`, `link`, `keys`, `ledger`, `report` and `compare`."""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bract
from bract.cli import launch
from bract.errors import BractError
from bract.flower import keys, supernode
from bract.results.report import pages
from bract.settings.flat import flatten
from bract.settings.read import read
from bract.settings.schema import Settings

PAIR = re.compile(r"""([\w.-]+)=("[^"]*"|'[^']*'|\S*)""")
RUN_CONFIG = 'settings, as "key=value key=value" or one .toml file; may be given more than once'


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

    run = commands.add_parser("run", help="run the app, show progress, judge the outcome")
    run.add_argument("app", nargs="?", default=".", help="folder of the app (default: this one)")
    run.add_argument("--nodes", type=_positive, help="simulated clients (default: as many as the data has)")
    run.add_argument(
        "--price", action="store_true", help="run again without privacy, and say what privacy cost in accuracy"
    )
    run.add_argument("--superlink", help="a SuperLink connection of Flower's configuration, not a simulation")
    run.add_argument("-c", "--run-config", action="append", default=[], metavar="KEY=VALUE", help=RUN_CONFIG)
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="what a set of settings means in steps and bytes, before training")
    plan.add_argument("app", nargs="?", default=".", help="folder of the app (default: this one)")
    plan.add_argument("--nodes", type=_positive, help="clients (default: as many as the data has)")
    plan.add_argument("-c", "--run-config", action="append", default=[], metavar="KEY=VALUE", help=RUN_CONFIG)
    plan.set_defaults(command=_plan)

    node = commands.add_parser(
        "node", help="a SuperNode with a trainer beside it that keeps the model between messages"
    )
    node.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="as flower-supernode takes them")
    node.set_defaults(command=_node)

    link = commands.add_parser("link", help="a SuperLink of which other machines reach only what nodes need")
    link.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="as flower-superlink takes them")
    link.set_defaults(command=_link)

    made = commands.add_parser("keys", help="make the certificates and keys of a federation").add_subparsers(
        required=True, metavar="WHAT"
    )
    server = made.add_parser("server", help="the SuperLink's certificate, and an authority that signs it")
    server.add_argument("folder", type=Path, help="gets ca.crt, ca.key, server.crt and server.key")
    server.add_argument(
        "--host", action="append", required=True, help="a name or address that nodes reach it by; may be given again"
    )
    server.add_argument("--days", type=_positive, default=365, help="how long it is valid (default: 365)")
    server.set_defaults(command=_keys_server)
    site = made.add_parser("node", help="a SuperNode's key: made where it is used")
    site.add_argument("path", type=Path, help="the private key; the public one gets .pub behind its name")
    site.set_defaults(command=_keys_node)

    ledger = commands.add_parser("ledger", help="what has been spent of the privacy of this machine's data")
    ledger.add_argument("--delta", type=float, default=1e-5, help="the delta at which epsilon is given (default: 1e-5)")
    ledger.set_defaults(command=_ledger)

    one = commands.add_parser("report", help="write a run folder's pages.html")
    one.add_argument("run", type=Path, help="a run folder")
    one.set_defaults(command=_report)

    several = commands.add_parser("compare", help="several runs side by side on one page")
    several.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    several.add_argument("-o", "--output", type=Path, default=Path("compare.html"), help="page to write")
    several.set_defaults(command=_compare)
    return parser


def _run(options: argparse.Namespace) -> int:
    app, overrides, settings = _app_settings(options)
    if options.price and (settings.privacy.unit == "none" or options.superlink or settings.run.resume):
        raise BractError("--price: compares a new private run, in simulation, with one that has privacy.unit = none")
    return launch.run(app, settings, overrides, nodes=options.nodes, superlink=options.superlink, price=options.price)


def _plan(options: argparse.Namespace) -> int:
    _, _, settings = _app_settings(options)
    # Methods live on the server's side, which this package does not import: so it is asked.
    nodes = str(options.nodes or launch.default_nodes(settings))
    command = [sys.executable, "-P", "-m", "server_app.estimate", nodes]  # -P: not this folder's code
    return subprocess.run(command, input=settings.to_toml(), text=True, check=False).returncode


def _node(options: argparse.Namespace) -> int:
    return supernode.run(_flowers(options.arguments))


def _link(options: argparse.Namespace) -> int:
    from bract.flower import superlink  # all of Flower's server, which nothing else here needs

    return superlink.run(_flowers(options.arguments))


def _flowers(arguments: list[str]) -> list[str]:
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def _keys_server(options: argparse.Namespace) -> int:
    keys.server(options.folder, options.host, options.days)
    print(f"{options.folder}/ca.crt goes to every node; {options.folder}/ca.key belongs on none of their machines")
    return 0


def _keys_node(options: argparse.Namespace) -> int:
    keys.node(options.path)
    print(f"register {options.path}.pub at the SuperLink before the node starts; {options.path} stays here")
    return 0


def _ledger(options: argparse.Namespace) -> int:
    # Ledgers are the clients': they are read by the code that writes them.
    command = [sys.executable, "-P", "-m", "client_app.privacy.spent", str(options.delta)]
    return subprocess.run(command, check=False).returncode


def _report(options: argparse.Namespace) -> int:
    print(pages.report(options.run))
    return 0


def _compare(options: argparse.Namespace) -> int:
    print(pages.compare(options.runs, options.output))
    return 0


def _app_settings(options: argparse.Namespace) -> tuple[Path, dict[str, Any], Settings]:
    """The app's folder, what the command line changes, and the settings of both together."""
    app = Path(options.app).resolve()
    try:
        project = tomllib.loads((app / "pyproject.toml").read_text(encoding="utf-8"))
        defaults = flatten(project["tool"]["flwr"]["app"]["config"])
    except (OSError, ValueError, KeyError) as error:
        raise BractError(f"{app} is no Bract app: its pyproject.toml has no [tool.flwr.app.config]") from error
    overrides = overrides_of(options.run_config)
    return app, overrides, read({**defaults, **overrides})


def overrides_of(words: Sequence[str]) -> dict[str, Any]:
    """Settings from the command line. Values are TOML; what is no TOML value is taken as text."""
    found: dict[str, Any] = {}
    for word in words:
        if word.endswith(".toml") and "=" not in word:
            try:
                found |= flatten(tomllib.loads(Path(word).read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise BractError(f"--run-config: {word} cannot be read: {error}") from error
            continue
        rest = PAIR.sub("", word).split()
        if rest:
            raise BractError(f"--run-config {rest[0]!r}: should be key=value")
        found |= {key: _value(text) for key, text in PAIR.findall(word)}
    return found


def _value(text: str) -> Any:
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except ValueError:
        return text.strip("\"'")
    return value if isinstance(value, str | int | float | bool) else text


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("should be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
