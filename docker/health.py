"""Whether this container does its work: exit code 0 if so, else one line that says what is wrong.

`link`: the SuperLink answers over TLS. `node`: SuperNode and trainer run, and the SuperLink answers to this node.
"""

import ssl
import sys
import urllib.request
from pathlib import Path

CA = "/public/ca.crt"


def answers(address: str, context: ssl.SSLContext | None = None) -> None:
    """Raise OSError unless the server at this address says that it is well."""
    urllib.request.urlopen(f"{address}/health", timeout=5, context=context).close()  # noqa: S310 - http or https, from here


def runs(word: str) -> bool:
    """Whether a process has this word in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if any(part.endswith(word) for part in path.read_text(errors="replace").split("\0")):
                return True
        except OSError:
            continue  # it has just ended
    return False


def main(kind: str) -> int:
    """The exit code."""
    trusted = ssl.create_default_context(cafile=CA)
    try:
        if kind == "link":
            answers("https://localhost:8000", trusted)
            return 0
        for word in ("flower-supernode", "client_app.flower.trainer"):
            if not runs(word):
                print(f"{word} does not run")
                return 1
        answers("http://127.0.0.1:9094")
        answers("https://superlink:8000", trusted)
    except OSError as error:
        print(f"no answer: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
