"""`python -m bract.cli`: the command line, of this very interpreter."""

import sys

from bract.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
