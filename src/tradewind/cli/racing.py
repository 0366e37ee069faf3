"""What ``tradewind check concurrency`` does: choose races and an adapter, run, show."""

import importlib
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import msgspec
from rich.console import Console

from tradewind.checks.concurrency.adapter import Adapter
from tradewind.checks.concurrency.races import RACES
from tradewind.checks.concurrency.races.start import Race
from tradewind.checks.concurrency.run import Outcome, Report, run_all
from tradewind.checks.concurrency.terminal import WORDS, print_report
from tradewind.checks.concurrency.tradewind_adapter import connect as connect_tradewind

# Given the address and the text of the key file.
Connect = Callable[[str, str], Awaitable[Adapter]]

SEEDS = 1_000_000


def choose(names: Sequence[str]) -> Sequence[Race]:
    """The races of these names, all without names. Raises `ValueError` with a sentence."""
    known = {race.name: race for race in RACES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"There is no race {unknown[0]!r}. There are: {', '.join(known)}.")
    return [known[name] for name in names] or RACES


def adapter_of(name: str) -> Connect:
    """What opens the adapter of this name. Raises `ValueError` with a sentence."""
    if name == "tradewind":
        return connect_tradewind
    module, _, function = name.partition(":")
    try:
        return cast(Connect, getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"There is no adapter {name!r} ({error}): write MODULE:FUNCTION, and put the folder "
            "of the module into PYTHONPATH."
        ) from None


async def race(
    connect: Connect,
    url: str,
    key: str,
    *,
    races: Sequence[Race],
    rounds: int,
    seed: int | None,
) -> Report:
    """Connect, run the races, hang up. Raises `AdapterBroken`."""
    adapter = await connect(url, key)
    try:
        drawn = secrets.randbelow(SEEDS) if seed is None else seed
        return await run_all(adapter, seed=drawn, rounds=rounds, races=races, told=tell)
    finally:
        await adapter.close()


def tell(outcome: Outcome) -> None:
    """A line per race while they run, for a person who watches."""
    if sys.stderr.isatty():
        words = WORDS[outcome.verdict]
        print(f"{outcome.race}: {words} ({outcome.took_s:.1f} s)", file=sys.stderr)


def show(report: Report, *, as_json: bool) -> None:
    """The report, for a person or for a program."""
    if as_json:
        document = {"holds": report.holds, **msgspec.to_builtins(report)}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        print_report(report)


def print_races() -> None:
    """Every race with its sentence."""
    console = Console(soft_wrap=True, highlight=False)
    for one in RACES:
        needs = f" (needs {', '.join(sorted(one.needs))})" if one.needs else ""
        console.print(f"{one.name}: {one.holds}{needs}", markup=False)
