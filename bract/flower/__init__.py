"""What runs beside Flower's SuperLink and SuperNode, and the one door to what Flower does not promise to keep.

What it uses of Flower's private parts, and what for; `tests/test_flower_parts.py` checks each on the Flower installed.

    flwr.superlink.extensions.get_middleware            `bract link` sets its guard before all that Flower serves
    flwr.superlink.cli.flower_superlink                 the command `flower-superlink`, in a process with that guard
    flwr.supernode.start_client_internal.time           the clock that a SuperNode sleeps by; `bract node` sets its own
    flwr.common.config.parse_config_args                the words of a node's configuration, as Flower reads them
    flwr.superlink.grid.HttpGrid                        the grid of a server whose clients are on other machines

Relied on without an import:

    flwr.supercore.logger.FLOWER_LOGGER                 `bract/log.py` finds it by its name
    flwr.common.constant.ErrorCode                      `server_app/transport.py` knows two: a dead worker, a lost node
    flwr.superlink.routers.fleet.router.router          nodes' requests, which the guard of `bract link` lets pass
    flwr.supercore.routers.health.router                the one other that it lets pass
    flwr.supercore.telemetry.FLWR_TELEMETRY_ENABLED     every command of Bract's tells nobody of itself
    flwr.supercore.constant.FLWR_DISABLE_UPDATE_CHECK   nor asks for newer versions
    flwr.common.constant.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION   nor installs anything for a run
    flwr.supernode.cli.flower_supernode._parse_args_run_supernode   the options that `bract node` sets
"""
