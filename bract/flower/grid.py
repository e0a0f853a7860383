"""Which of Flower's grids the server has been given."""

from flwr.serverapp import Grid
from flwr.superlink.grid import HttpGrid


def between_machines(grid: Grid) -> bool:
    """Whether its clients are other processes' nodes, and no workers of a simulation."""
    return isinstance(grid, HttpGrid)
