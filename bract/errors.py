"""The one kind of error that a user is meant to read."""

LONGEST = 500


class BractError(Exception):
    """A fault that the user can mend: one line that names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text that is safe to show: one line, no control characters, of a sane length.

    Words of clients and of other programs pass through here: a terminal must not obey them.
    """
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST])
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
