"""The report of a check as a person reads it."""

import sys

from rich.console import Console
from rich.table import Table

from tradewind.checks.proofs import Report

PLAIN_COLUMNS = 120


def print_report(report: Report) -> None:
    """Each invariant with its numbers, then what is broken, then the verdict."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    table = Table("", "invariant", title=f"Invariants at {report.at:%Y-%m-%d %H:%M:%S} UTC")
    for name in ("looked at", "broken", "ms"):
        table.add_column(name, justify="right")
    group = ""
    for one in report.proved:
        if group and one.group != group:
            table.add_section()
        proof = one.proof
        table.add_row(
            one.group if one.group != group else "",
            one.name,
            f"{proof.checked:,} {proof.things}",
            f"{proof.broken:,}" if proof.broken else "-",
            f"{one.took_s * 1000:,.0f}",
        )
        group = one.group
    console.print(table)
    for one in report.proved:
        for offence in one.proof.first:
            sentence = f"BROKEN: {one.name}: {offence.id}: {offence.detail}"
            console.print(sentence, markup=False, soft_wrap=True)
        if one.proof.broken > len(one.proof.first):
            console.print(f"BROKEN: {one.name}: {one.proof.broken:,} in all", markup=False)
    for sentence in verdict(report):
        console.print(sentence, markup=False)


def verdict(report: Report) -> list[str]:
    """What was proved, in sentences."""
    hold = sum(one.proof.holds for one in report.proved)
    looked_at = sum(one.proof.checked for one in report.proved)
    took_s = sum(one.took_s for one in report.proved)
    sentences = [
        f"The provider recorded {report.charges_count:,} operations; "
        f"{looked_at:,} things were looked at in {took_s:.1f} s."
    ]
    if not report.under_way.quiet:
        sentences.append(f"Still under way: {report.under_way}. Wait longer with --wait.")
    sentences.append(
        f"{hold} of {len(report.proved)} invariants hold."
        + ("" if report.holds else " NOT PROVED.")
    )
    return sentences
