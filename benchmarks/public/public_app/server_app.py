"""The ServerApp: the mean of adapters and heads."""

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Round 1 starts from the clients' own first values."""
    strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=2)
    strategy.start(grid, ArrayRecord(), num_rounds=int(context.run_config["rounds"]))
