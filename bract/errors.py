"""The one kind of error that a user is meant to read."""


class BractError(Exception):
    """A fault that the user can mend: one line that names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
