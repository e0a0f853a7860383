"""The ServerApp."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from bract.errors import BractError
from bract.settings.read import read
from server_app.progress import say
from server_app.rounds import run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation that the settings describe; a fault ends the run as failed, in one line."""
    try:
        folder = run(grid, read(context.run_config))
    except Exception as error:
        # One line for the person; the exception itself makes Flower call the run failed.
        name = "" if isinstance(error, BractError) else f"{type(error).__name__}: "
        say(f"error: {name}{' '.join(str(error).split())}")
        raise
    say(f"done: {folder.path}")


__all__ = ["app"]
