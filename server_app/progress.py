"""What the server says while it works: plain lines, which `bract run` picks out of Flower's log."""

MARK = "[bract]"


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"{MARK} {text}", flush=True)
