"""What the server says while it works: plain lines, which `bract run` picks out of Flower's log."""

from bract.errors import one_line
from bract.results.console import MARK


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"{MARK}{one_line(text)}", flush=True)
