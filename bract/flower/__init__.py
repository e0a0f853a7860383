"""What runs beside Flower's SuperLink and SuperNode, and the one door to what Flower does not promise to keep.

What it uses of Flower's private parts, and what for; `tests/test_flower_parts.py` checks each on the Flower installed.

    flwr.superlink.extensions.get_middleware            `bract link` sets its guard before all that Flower serves
    flwr.superlink.cli.flower_superlink                 the command `flower-superlink`, in a process with that guard
    flwr.supernode.start_client_internal.time           the clock that a SuperNode sleeps by; `bract node` sets its own
    flwr.superlink.grid.HttpGrid                        the grid of a server whose clients are on other machines
"""
