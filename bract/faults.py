"""What a server is told of a fault: words that hold nothing of the data, or the id of a line in the node's log."""

import secrets

from bract.errors import BractError, PublicError
from bract.log import log

ERROR = 40


def leaving(error: Exception, *, own: bool) -> Exception:
    """What leaves in the place of a fault.

    At a node with data of its own (`own`) it is a PublicError's own words, or an id whatever the fault says, always of
    the same length. In a simulation the data are the user's own, and so are the words; what the system says of a file
    leaves without its name all the same.
    """
    if own or isinstance(error, PublicError):
        return BractError(public_words(error))
    if isinstance(error, OSError) and error.filename is not None:
        log(ERROR, "%s", error)
        return BractError(f"{type(error).__name__}: [Errno {error.errno}] {error.strerror}")
    return error


def public_words(error: Exception) -> str:
    """Words for a fault that hold nothing of the data; the node's log has the rest under the same id."""
    if isinstance(error, PublicError):
        return str(error)
    number = secrets.token_hex(4)
    log(ERROR, "fault %s: %s", number, error, exc_info=None if isinstance(error, BractError) else error)
    return f"a fault at this node, whose log has it as {number}"
