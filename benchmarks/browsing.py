"""The load generator of lists and searches: a closed loop of GETs, like benchmarks.load.

What to ask for comes from a file: a JSON array of paths, of which each request takes one by chance.
An answer counts as confirmed when it is 200.
"""

import json
import os
import random
from pathlib import Path

from benchmarks.load import Load, Window, arguments, run_and_print
from tradewind.supervisor.processes import allow_many_files

KEY_VARIABLE = "BENCH_BROWSING_KEY"  # not among the arguments: those anybody can read


class Reading(Load):
    """Readers, and what they saw."""

    def __init__(self, host: str, port: int, window: Window, paths: list[str], key: str) -> None:
        super().__init__(host, port, window)
        bearer = f"Authorization: Bearer {key}\r\n" if key else ""
        self._requests = [
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{bearer}\r\n".encode() for path in paths
        ]

    def next_request(self) -> bytes:
        """Any of the paths."""
        return random.choice(self._requests)

    def answered(self, answer: bytes, sent_at: float, now: float) -> bool:
        """Count an answer; whether it was one."""
        window = self.window
        self.last_answer_at = now
        status = answer[9:12].decode()
        self.statuses[status] += 1
        through = status == "200"
        self.confirmed += through
        if through and window.begin <= now < window.end:
            self.latencies_s.append(now - sent_at)
        return through


def main() -> None:
    """Read the arguments, run, print the count."""
    allow_many_files()
    parser = arguments(__doc__)
    parser.add_argument("--paths", type=Path, required=True, help="a JSON array of paths")
    given = parser.parse_args()
    window = Window(given.begin, given.end, given.until)
    paths = json.loads(given.paths.read_text())
    key = os.environ.get(KEY_VARIABLE, "")
    run_and_print(Reading(given.host, given.port, window, paths, key), given)


if __name__ == "__main__":
    main()
