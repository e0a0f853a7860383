"""The one kind of error that a user is meant to read, and those of them that a server may read, too."""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 500


class BractError(Exception):
    """A fault that the user can mend: one line that names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class PublicError(BractError):
    """One whose words may leave a node.

    They are made of what the server sent itself and of what a node's operator declared public: no cell, column, path,
    count or other number of the node's data, and no text of a library.
    """


@contextmanager
def public() -> Iterator[None]:
    """What goes wrong inside has only the server's own message to do with, so it may be told."""
    try:
        yield
    except PublicError:
        raise
    except BractError as error:
        raise PublicError(str(error)) from error


def one_line(text: str) -> str:
    """Text that is safe to show: one line, no control characters, of a sane length.

    Words of clients and of other programs pass through here: a terminal must not obey them.
    """
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST])
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
