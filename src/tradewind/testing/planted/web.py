"""The program of a web process with one planted bug."""

import sys

from tradewind.supervisor import worker
from tradewind.testing.planted import bugs


def main(bug: str, arguments: list[str]) -> None:
    """Plant it, then be a web process like any other."""
    bugs.ALL[bug].plant()
    worker.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
