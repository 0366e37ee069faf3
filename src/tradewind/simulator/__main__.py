"""``python -m tradewind.simulator --home DIR --port N``: the simulated payment provider."""

import argparse
from pathlib import Path

from tradewind.simulator.program import serve


def main() -> None:
    """Read the command line and serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m tradewind.simulator",
        description="The simulated payment provider. Listens on 127.0.0.1 only; its record is "
        "DIR/simulator/record.sqlite3.",
    )
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="holds its record")
    parser.add_argument(
        "--port", type=int, required=True, metavar="N", help="the port to listen on"
    )
    parser.add_argument(
        "--latency-ms", type=float, default=0.0, metavar="MS", help="wait before every answer"
    )
    arguments = parser.parse_args()
    serve(arguments.home, arguments.port, latency_s=arguments.latency_ms / 1_000)


if __name__ == "__main__":
    main()
