"""Rows as this process wrote them last, so that they need not be read again.

What is remembered may be out of date: another process may have changed the row since. So it decides
nothing by itself. A handler may `recall` a row if a write of the same unit fails unless the row
still is what was recalled, and says so with `vouch`; a unit that recalled more than it vouched for
is thrown away and run again on rows that were read. See `Transaction`.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

# An order on its way has three rows here, some 3 kB: this is what a few thousand of them need.
ROWS_MAX = 20_000

Name = tuple[str, str]  # kind of row, key


class KnownRows:
    """The rows that units of this process left behind, the newest use last."""

    def __init__(self, *, rows_max: int = ROWS_MAX) -> None:
        self.rows_max = rows_max
        self._rows: OrderedDict[Name, Any] = OrderedDict()
        # A server that crashed may have lost what is remembered, and count versions anew.
        self._life = 0

    def __len__(self) -> int:
        return len(self._rows)

    def believes(self, life: int) -> bool:
        """Whether what is remembered was committed in this life of the server (0: not known)."""
        if life and life != self._life:
            self._rows.clear()
            self._life = life
        return bool(life)

    def recall(self, names: Iterable[Name]) -> dict[str, Any]:
        """What is known, by key."""
        rows = self._rows
        found = {}
        for name in names:
            row = rows.get(name)
            if row is not None:
                rows.move_to_end(name)
                found[name[1]] = row
        return found

    def keep(self, rows: Mapping[Name, Any], life: int) -> None:
        """Remember rows that were committed in a life of the server; None: forget."""
        for name, row in rows.items():
            if row is None or not life or life != self._life:
                self._rows.pop(name, None)
            else:
                self._rows[name] = row
        while len(self._rows) > self.rows_max:
            self._rows.popitem(last=False)

    def forget(self, names: Iterable[Name]) -> None:
        """Of these something proved to be otherwise."""
        for name in names:
            self._rows.pop(name, None)
