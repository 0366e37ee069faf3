"""The check on the terminal: how far it is, and its verdict."""

import sys
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tradewind.checks.oversell.history import Recorder
from tradewind.checks.oversell.run import Outcome
from tradewind.platform.faults import PLACES

PLAIN_COLUMNS = 120
SHOWN_OF_A_KIND = 3


class Told:
    """Progress: a line that changes on a terminal, a line per phase elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=1.0, counts="")
        self._phase = ""

    def __enter__(self) -> "Told":
        if sys.stderr.isatty():
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, phase: str, recorder: Recorder, share: float) -> None:
        """Where it is."""
        if not sys.stderr.isatty():
            if phase != self._phase:
                print(f"{phase} ...", file=sys.stderr, flush=True)
            self._phase = phase
            return
        counts = f"{recorder.asked.total():,} operations, {recorder.windows.total()} kills"
        self._progress.update(self._task, description=phase, completed=share, counts=counts)


def print_outcome(outcome: Outcome) -> None:
    """What was done, what was killed where, what was found."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    table = Table("", "", show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("operations", counted(outcome.asked))
    table.add_row("answers", counted(outcome.answered))
    table.add_row("orders", counted(outcome.orders))
    table.add_row("disturbances", counted(outcome.acts))
    for place, words in PLACES.items():
        table.add_row("kills in a window", f"{outcome.windows.get(place, 0):>4}  {words}")
    table.add_row("kills anywhere", f"{outcome.windows.get('anywhere', 0):>4}")
    console.print(table)
    shown: Counter[str] = Counter()
    for anomaly in outcome.anomalies:
        shown[anomaly.kind] += 1
        if shown[anomaly.kind] <= SHOWN_OF_A_KIND:
            console.print(
                f"ANOMALY: {anomaly.kind}: {anomaly.about}: {anomaly.detail}",
                markup=False,
                soft_wrap=True,
            )
    for kind, count in shown.items():
        if count > SHOWN_OF_A_KIND:
            console.print(f"ANOMALY: {kind}: {count:,} in all", markup=False)
    console.print(
        f"{sum(outcome.asked.values()):,} operations, {outcome.kills} kills, of them "
        f"{outcome.kills_in_windows} in dangerous windows; {outcome.events:,} events, "
        f"{outcome.charges:,} operations at the provider; {outcome.invariants} invariants hold; "
        f"seed {outcome.seed}; {outcome.took_s:.0f} s.",
        markup=False,
    )
    count = len(outcome.anomalies)
    console.print("No anomaly." if not count else f"{count:,} anomalies. NOT PROVED.", markup=False)


def counted(counts: Mapping[str, int]) -> str:
    """`3 place, 2 cancel`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {name}" for name, count in ordered) or "none"
