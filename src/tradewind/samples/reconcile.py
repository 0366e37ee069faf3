"""Accounts for every line of the source after a replay, and compares with what the API reports.

Two questions. Where did each source line go: its units and its value, to the last penny, in one
place of the table? And does the platform say the same as we do: orders, refusals, money captured
and given back, the ledger?
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from tradewind.kernel.money import format_e4, format_minor, parse_minor
from tradewind.samples.client import Client
from tradewind.samples.history import CURRENCY, Part, Place, Plan
from tradewind.samples.replay import CAPTURED_WITHIN_S, CONFIRMED, Outcomes

POLL_S = 0.5
# Refusals that a shop meets: everything else says that the replay itself went wrong.
BUSINESS_REFUSALS = frozenset(("stock_is_short", "payment_declined", "payment_timeout"))
SETTLED = frozenset(("captured", "partially_refunded", "refunded", "voided", "declined", "failed"))


class Row(Struct):
    """One place where source lines went."""

    place: str
    lines: int = 0
    units: int = 0
    value_e4: int = 0

    def add(self, part: Part) -> None:
        """Count a part of a source line."""
        self.lines += part.first
        self.units += part.units
        self.value_e4 += part.value_e4

    @property
    def value(self) -> str:
        """The value in pounds, exactly."""
        sign = "-" if self.value_e4 < 0 else ""
        return sign + format_e4(abs(self.value_e4), CURRENCY)


class Check(Struct, frozen=True):
    """One figure as we know it and as the platform reports it."""

    about: str
    expected: str
    found: str

    @property
    def equal(self) -> bool:
        """Whether they agree."""
        return self.expected == self.found


class Reconciliation(Struct, frozen=True):
    """The whole account."""

    rows: tuple[Row, ...]
    accounted: Row
    source: Row
    checks: tuple[Check, ...]
    unexpected: Mapping[str, int]  # refusals that no shop should meet

    @property
    def agrees(self) -> bool:
        """Whether every line is accounted for and the platform reports the same."""
        same = (self.accounted.lines, self.accounted.units, self.accounted.value_e4) == (
            self.source.lines,
            self.source.units,
            self.source.value_e4,
        )
        return same and all(check.equal for check in self.checks) and not self.unexpected

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        if self.agrees:
            return f"All {self.source.lines:,} lines are accounted for; the platform agrees."
        return "It does NOT agree."


def account(plan: Plan, outcomes: Outcomes) -> tuple[Row, ...]:
    """Where each source line went. A line that went nowhere is missing from the sums."""
    rows: dict[str, Row] = {}

    def put(place: str, parts: Iterable[Part]) -> None:
        for part in parts:
            rows.setdefault(place, Row(place)).add(part)

    for action in plan.actions:
        if isinstance(action, Place):
            placed = outcomes.placed.get(action.invoice)
            if placed is None:
                continue
            where = "order confirmed" if placed.confirmed else f"order refused: {placed.code}"
            put(f"{where}, products", action.lines)
            put(f"{where}, carriage as a fee", action.fees)
        else:
            back = outcomes.given_back.get((action.invoice, action.order))
            if back is None:
                continue
            if back.done:
                what = "order cancelled, stock returned" if action.whole else "amount refunded"
                put(f"given back: {what}", action.parts)
            else:
                put(f"not given back: {back.why_not}", action.parts)
    ordered = [rows[name] for name in sorted(rows, key=row_order)]
    for reason, parts in plan.left_out.items():
        row = Row(f"left out: {reason}")
        for part in parts:
            row.add(part)
        ordered.append(row)
    return tuple(ordered)


def row_order(place: str) -> tuple[int, str]:
    """Confirmed orders first, then refused ones, then what was given back."""
    first = ("order confirmed", "order refused", "given back", "not given back")
    return next(i for i, start in enumerate(first) if place.startswith(start)), place


def source_row(plan: Plan) -> Row:
    """What the source adds up to, counted without the plan's help."""
    row = Row("source")
    for line in plan.source:
        row.add(Part(line, line.quantity))
    return row


class Expected(Struct):
    """What the platform must report about the orders of the replay, if it did what it answered."""

    confirmed: int = 0
    confirmed_minor: int = 0
    refused: int = 0
    refunded_minor: int = 0
    cancelled: int = 0


def expect(plan: Plan, outcomes: Outcomes) -> Expected:
    """The figures that follow from the source and from the answers."""
    expected = Expected()
    totals: dict[str, int] = {}
    for action in plan.actions:
        if isinstance(action, Place):
            totals[action.invoice] = action.total_minor
            placed = outcomes.placed[action.invoice]
            if placed.confirmed:
                expected.confirmed += 1
                expected.confirmed_minor += action.total_minor
            elif placed.order_id:
                expected.refused += 1
            continue
        if outcomes.given_back[action.invoice, action.order].done:
            expected.cancelled += action.whole
            refund_minor = totals[action.order] if action.whole else action.amount_minor
            expected.refunded_minor += refund_minor
    return expected


async def reconcile(client: Client, plan: Plan, outcomes: Outcomes) -> Reconciliation:
    """Ask the platform for its view and lay it beside ours."""
    rows = account(plan, outcomes)
    accounted = Row("accounted for")
    for row in rows:
        accounted.lines += row.lines
        accounted.units += row.units
        accounted.value_e4 += row.value_e4
    expected = expect(plan, outcomes)
    orders = {order["id"]: order async for order in client.orders()}
    payments = await all_payments(client, orders)
    ledger = (await client.get("/v1/ledger/balance"))["items"]
    return Reconciliation(
        rows=rows,
        accounted=accounted,
        source=source_row(plan),
        checks=tuple(compare(expected, outcomes, orders, payments, ledger)),
        unexpected=unexpected(outcomes),
    )


def unexpected(outcomes: Outcomes) -> Counter[str]:
    """Answers that no shop should meet: anything but stock and money that ran short."""
    orders = Counter(
        f"order: {placed.code}"
        for placed in outcomes.placed.values()
        if not placed.confirmed and placed.code not in BUSINESS_REFUSALS
    )
    return orders + Counter(
        f"cancellation: {back.why_not}"
        for (_, invoice), back in outcomes.given_back.items()
        if not back.done and outcomes.placed[invoice].confirmed
    )


async def all_payments(
    client: Client, orders: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The payments of all orders that have one, by order id, once they have settled."""
    give_up_at = time.monotonic() + CAPTURED_WITHIN_S
    slots = asyncio.Semaphore(16)

    async def read(order_id: str, payment_id: str) -> tuple[str, dict[str, Any]]:
        async with slots:
            while True:
                payment: dict[str, Any] = await client.get(f"/v1/payments/{payment_id}")
                settled = payment["status"] in SETTLED and not owes_refund(
                    orders[order_id], payment
                )
                if settled or time.monotonic() > give_up_at:
                    return order_id, payment
                await asyncio.sleep(POLL_S)

    found = await asyncio.gather(
        *(
            read(order_id, order["payment"]["id"])
            for order_id, order in orders.items()
            if order.get("payment")
            and order["payment"].get("id")
            # A refused order took no money; ask only about those that may have.
            and order["status"] in CONFIRMED
        )
    )
    return dict(found)


def owes_refund(order: Mapping[str, Any], payment: Mapping[str, Any]) -> bool:
    """Whether a cancelled order's money has not all gone back yet."""
    return order["status"] == "cancelled" and minor(payment.get("captured")) != minor(
        payment.get("refunded")
    )


def minor(money: Mapping[str, str] | None) -> int:
    """An amount of the wire in pence; nothing is nothing."""
    if not money or money["currency"] != CURRENCY:
        return 0
    value = parse_minor(money["amount"], CURRENCY)
    assert value is not None, money
    return value


def compare(
    expected: Expected,
    outcomes: Outcomes,
    orders: Mapping[str, Mapping[str, Any]],
    payments: Mapping[str, Mapping[str, Any]],
    ledger: Iterable[Mapping[str, Any]],
) -> Iterable[Check]:
    """Our figures beside the platform's."""
    ours = {placed.order_id for placed in outcomes.placed.values() if placed.order_id}
    listed = [order for order_id, order in orders.items() if order_id in ours]
    confirmed = [order for order in listed if order["status"] in CONFIRMED]
    total = sum(minor(order["totals"]["total"]) for order in confirmed)
    refused = sum(order["status"] == "rejected" for order in listed)
    cancelled = sum(order["status"] == "cancelled" for order in listed)
    paid = [payments[order["id"]] for order in confirmed if order["id"] in payments]
    yield Check("orders confirmed", count(expected.confirmed), count(len(confirmed)))
    yield Check("orders refused after placing", count(expected.refused), count(refused))
    yield Check("orders cancelled since", count(expected.cancelled), count(cancelled))
    yield Check("confirmed, in total", pounds(expected.confirmed_minor), pounds(total))
    # A cancel that overtook the capture voided the money: then neither side of it moved.
    voided = sum(
        minor(order["totals"]["total"])
        for order in confirmed
        if payments.get(order["id"], {}).get("status") == "voided"
    )
    taken = sum(minor(payment.get("captured")) for payment in paid)
    back = sum(minor(payment.get("refunded")) for payment in paid)
    yield Check("captured or voided", pounds(expected.confirmed_minor), pounds(taken + voided))
    yield Check("refunded or voided", pounds(expected.refunded_minor), pounds(back + voided))
    balances = [item for item in ledger if item["currency"] == CURRENCY]
    net = sum(balance(item) for item in balances)
    yield Check("ledger, all accounts", pounds(0), pounds(net))
    everyones = [payment for payment in payments.values() if payment.get("captured")]
    held = sum(minor(p.get("captured")) - minor(p.get("refunded")) for p in everyones)
    provider = sum(balance(i) for i in balances if str(i["account"]).startswith("provider:"))
    yield Check("ledger, money at the provider", pounds(held), pounds(provider))


def balance(item: Mapping[str, Any]) -> int:
    """Debit less credit of one account, in pence."""
    debit, credit = (side(item[name]) for name in ("debit", "credit"))
    return debit - credit


def side(value: Any) -> int:
    """One side of an account: money, or an amount as text."""
    if isinstance(value, Mapping):
        return minor(value)
    parsed = parse_minor(str(value), CURRENCY)
    assert parsed is not None, value
    return parsed


def count(number: int) -> str:
    """A number of things."""
    return f"{number:,}"


def pounds(amount_minor: int) -> str:
    """An amount in pounds."""
    return format_minor(amount_minor, CURRENCY)
