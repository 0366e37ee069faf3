"""The races' report as a person reads it."""

import sys

from rich.console import Console
from rich.table import Table

from tradewind.checks.concurrency.run import Outcome, Report

PLAIN_COLUMNS = 140
WORDS = {"holds": "holds", "violated": "VIOLATED", "not_applicable": "not applicable"}


def print_report(report: Report) -> None:
    """Each race with its numbers, then what was violated and the evidence, then the verdict."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    table = Table("race", "what must hold", "verdict", title=f"Races on {report.platform}")
    for name in ("rounds", "requests", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for outcome in report.outcomes:
        numbers: tuple[str, ...] = ()
        if outcome.verdict != "not_applicable":
            numbers = (
                str(outcome.rounds),
                f"{outcome.requests:,}",
                f"{outcome.p50_ms:,.0f}",
                f"{outcome.p99_ms:,.0f}",
            )
        table.add_row(outcome.race, outcome.holds, WORDS[outcome.verdict], *numbers)
    console.print(table)
    for outcome in report.outcomes:
        for sentence in evidence(outcome):
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(report), markup=False, highlight=False)


def evidence(outcome: Outcome) -> list[str]:
    """What was seen where a race was violated, or why it was not run."""
    if outcome.lacks:
        return [f"{outcome.race}: not applicable, the adapter lacks {', '.join(outcome.lacks)}."]
    sentences = []
    for violation in outcome.violations:
        place = f"{outcome.race}, round {violation.round}"
        sentences += [f"VIOLATED: {place}: {sentence}" for sentence in violation.sentences]
        answers = ", ".join(f"{count} x {what}" for what, count in violation.answers.items())
        sentences += [f"    answers: {answers}"]
        sentences += [f"    state: {state}" for state in violation.states]
    return sentences


def verdict(report: Report) -> str:
    """The last sentence."""
    counts = [
        sum(outcome.verdict == name for outcome in report.outcomes)
        for name in ("holds", "violated", "not_applicable")
    ]
    return (
        f"{counts[0]} races hold, {counts[1]} violated, {counts[2]} not applicable; "
        f"{report.rounds} rounds each, seed {report.seed}."
    )
