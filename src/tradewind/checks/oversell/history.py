"""The history file: a line of JSON for everything that was asked, answered or done, as it happened.

A line is written before a request leaves and another one when its answer has come, so the file
says what was under way at any moment. Times are nanoseconds since 1970.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KEPT_HEADERS = ("content-type", "location")


class Recorder:
    """Writes the history and counts what is in it."""

    def __init__(self, path: Path, *, seed: int) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8", buffering=1 << 20)
        self._number = 0
        self.asked: Counter[str] = Counter()  # by operation
        self.answered: Counter[str] = Counter()  # by status, or "lost"
        self.acts: Counter[str] = Counter()  # by what was done
        self.windows: Counter[str] = Counter()  # kills, by where
        self._write(what="seed", seed=seed)

    def begin(self, op: str, method: str, path: str, key: str | None, body: Any) -> int:
        """A request is about to leave; its number."""
        self._number += 1
        self.asked[op] += 1
        self._write(
            what="begin", id=self._number, op=op, method=method, path=path, key=key, body=body
        )
        return self._number

    def end(self, number: int, status: int | None, text: str, headers: Mapping[str, str]) -> None:
        """Its answer has come, or (status None) will not."""
        self.answered[str(status or "lost")] += 1
        kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
        self._write(what="end", id=number, status=status, text=text, headers=kept)

    def act(self, act: str, window: str = "") -> None:
        """Something was done to the platform."""
        self.acts[act] += 1
        if act.startswith("kill"):
            self.windows[window or "anywhere"] += 1
        self._write(what="act", act=act, window=window)

    def feed(self, items: Sequence[tuple[str, str, int]]) -> None:
        """A page of the public feed: source, subject, sequence of each event."""
        self._write(what="feed", items=items)

    def close(self) -> None:
        """No more is to come."""
        self._file.close()

    def _write(self, **told: Any) -> None:
        told["at"] = time.time_ns()
        self._file.write(json.dumps(told, separators=(",", ":")) + "\n")
