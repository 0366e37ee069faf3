"""Accounts for every line of the source after a replay, and compares with what the API reports.

Three questions. Where did each source line go: its units and its value, to the last penny, in one
place of the table (``account``)? Do the lines add up to what the data set says (``totals``)? And
does the platform say the same: orders, money, credit notes, the ledger, stock (``platform``)?
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tradewind.samples.client import Client
from tradewind.samples.history import Plan
from tradewind.samples.reconcile.account import Account, Row, account, exact, expect
from tradewind.samples.reconcile.platform import ask_platform, compare
from tradewind.samples.reconcile.totals import Check, compare_totals, read_totals
from tradewind.samples.replay import Outcomes

# Refusals that a shop meets: everything else says that the replay itself went wrong.
BUSINESS_REFUSALS = frozenset(
    (
        *("stock_is_short", "payment_declined", "payment_timeout"),
        "refused: stock_would_be_negative",
    )
)
FOLLOWS = "its order was "  # refused, or not shipped: counted there


class Reconciliation(Struct, frozen=True):
    """The whole account."""

    account: Account
    rounding: str  # what exact amounts come to more than the whole pence that were booked
    totals: tuple[Check, ...]  # of the data set; none where nothing says what it adds up to
    checks: tuple[Check, ...]  # of the platform
    unexpected: Mapping[str, int]  # refusals that no shop should meet
    unknown_countries: tuple[str, ...]
    others: int  # orders on the platform that are not of this replay

    @property
    def agrees(self) -> bool:
        """Whether every line is accounted for and the platform reports the same."""
        equal = all(check.equal for check in (*self.totals, *self.checks))
        return self.account.complete and equal and not self.unexpected

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        if self.agrees:
            lines = self.account.source.lines
            return f"All {lines:,} lines are accounted for; the platform agrees."
        return "It does NOT agree."

    def document(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "agrees": self.agrees,
            "places": [row_document(row) for row in self.account.rows],
            "accounted": row_document(self.account.accounted),
            "source": row_document(self.account.source),
            "lines_astray": list(self.account.astray),
            "rounding_gbp": self.rounding,
            "totals": [check_document(check) for check in self.totals],
            "platform": [check_document(check) for check in self.checks],
            "unexpected": dict(self.unexpected),
            "unknown_countries": list(self.unknown_countries),
            "orders_of_others": self.others,
        }


def row_document(row: Row) -> dict[str, Any]:
    """A place of the account, for a file."""
    return {"place": row.place, "lines": row.lines, "units": row.units, "gbp": row.value}


def check_document(check: Check) -> dict[str, Any]:
    """A figure, for a file."""
    return {
        "about": check.about,
        "expected": check.expected,
        "found": check.found,
        "equal": check.equal,
    }


async def reconcile(
    client: Client,
    plan: Plan,
    outcomes: Outcomes,
    *,
    opening: Mapping[str, int],
    totals: dict[str, Any] | None = None,
) -> Reconciliation:
    """Ask the platform for its view and lay it beside ours.

    `opening`: the units of each sku, in capitals, when the replay began.
    """
    expected = expect(plan, outcomes)
    reported = await ask_platform(client, outcomes, expected)
    return Reconciliation(
        account=account(plan, outcomes),
        rounding=exact(expected.rounded_e4),
        totals=tuple(compare_totals(totals, plan.source)) if totals else (),
        checks=tuple(compare(expected, reported, opening)),
        unexpected=unexpected(outcomes),
        unknown_countries=plan.unknown_countries,
        others=reported.others,
    )


def unexpected(outcomes: Outcomes) -> Counter[str]:
    """Answers that no shop should meet: anything but stock and money that ran short."""
    return Counter(
        f"{kind}: {outcome.why_not}"
        for (kind, _), outcome in outcomes.by_name.items()
        if not outcome.done
        and outcome.why_not not in BUSINESS_REFUSALS
        and not outcome.why_not.startswith(FOLLOWS)
    )


__all__ = [
    "Account",
    "Check",
    "Reconciliation",
    "Row",
    "account",
    "expect",
    "read_totals",
    "reconcile",
]
