"""Figures over several runs: a table for a person, a line of JSON per figure for a program."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine

PLAIN_COLUMNS = 132


class Figure(Struct):
    """One figure: its value in each run, and what the partners came to in the same run."""

    name: str
    unit: str
    values: list[float] = []
    to_a: list[float] = []
    to_b: list[float] = []


class Line(Struct, frozen=True, kw_only=True):
    """A figure as it is kept. `value` is the median."""

    figure: str
    value: float
    unit: str
    min: float
    median: float
    max: float
    runs: Sequence[float]
    ratio_to_a: float | None
    ratio_to_b: float | None
    at: str
    machine: Machine
    command: str
    options: Mapping[str, Any]
    sha256: Mapping[str, str]


class Book:
    """The figures of a benchmark, in the order in which they were first noted."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}

    def note(
        self, name: str, unit: str, value: float, *, a: float | None = None, b: float | None = None
    ) -> None:
        """The value of one run; `a` and `b` are the partners' values in that run."""
        figure = self.figures.setdefault(name, Figure(name, unit))
        figure.values.append(value)
        if a:
            figure.to_a.append(value / a)
        if b:
            figure.to_b.append(value / b)

    def lines(self, **context: Any) -> list[Line]:
        """Every figure as it is kept; `context` is the same for all."""
        return [
            Line(
                figure=figure.name,
                value=rounded(median(figure.values)),
                unit=figure.unit,
                min=rounded(min(figure.values)),
                median=rounded(median(figure.values)),
                max=rounded(max(figure.values)),
                runs=[rounded(value) for value in figure.values],
                ratio_to_a=rounded(median(figure.to_a)) if figure.to_a else None,
                ratio_to_b=rounded(median(figure.to_b)) if figure.to_b else None,
                **context,
            )
            for figure in self.figures.values()
        ]


def numbers(text: str) -> tuple[int, ...]:
    """``1,16,64`` as numbers."""
    return tuple(int(part) for part in text.split(","))


def rounded(value: float) -> float:
    """Four digits that mean something."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else float(round(value))


def write(lines: Sequence[Line], file: Path) -> None:
    """One line of JSON per figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def show(console: Console, lines: Sequence[Line], machine: Machine) -> None:
    """The table, and what it was measured on."""
    if not console.is_terminal:
        console = Console(width=PLAIN_COLUMNS, highlight=False)
    table = Table("figure", title=f"{lines[0].at}  {machine.commit}")
    for name in ("median", "min", "max", "unit", "of A", "of B"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    group = ""
    for line in lines:
        prefix = line.figure.partition(".")[0]
        if group and prefix != group:
            table.add_section()
        group = prefix
        table.add_row(
            line.figure,
            *(shown(value) for value in (line.median, line.min, line.max)),
            line.unit,
            *(
                "" if ratio is None else f"{ratio:.2f}"
                for ratio in (line.ratio_to_a, line.ratio_to_b)
            ),
        )
    console.print(table)
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GiB, {machine.kernel}, "
        f"{machine.file_system}, Python {machine.python}, PostgreSQL {machine.postgresql}, "
        f"commit {machine.commit}",
        highlight=False,
    )
    for name, digest in lines[0].sha256.items():
        console.print(f"sha256 {digest}  {name}", highlight=False)


def keep(
    console: Console,
    book: Book,
    host: Machine,
    folder: Path,
    *,
    module: str,
    options: Mapping[str, Any],
    sha256: Mapping[str, str] | None = None,
) -> Path:
    """Print the table and write the lines; the file they are in."""
    now = datetime.now(UTC)
    lines = book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", module, *sys.argv[1:]]),
        options=options,
        sha256=sha256 or {},
    )
    show(console, lines, host)
    file = folder / f"{now:%Y%m%dT%H%M%SZ}-{module.rpartition('.')[2]}.jsonl"
    write(lines, file)
    console.print(f"written to {file}", soft_wrap=True)
    return file


def shown(value: float) -> str:
    """A number with as many digits as a person reads."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
