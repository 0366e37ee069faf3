"""What the platform itself reports of a replay, asked over the API, beside what must be there."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from tradewind.kernel.money import format_minor, parse_minor
from tradewind.samples.client import PAGE_ITEMS_MAX, Client
from tradewind.samples.history import CURRENCY, local_month
from tradewind.samples.reconcile.account import Expected
from tradewind.samples.reconcile.totals import Check
from tradewind.samples.replay import CAPTURED_WITHIN_S, CONFIRMED, SHIPPED, Outcomes

POLL_S = 0.5
ASKED_AT_ONCE = 16
SETTLED = frozenset(("captured", "partially_refunded", "refunded", "voided", "declined", "failed"))


class Listed(Struct, frozen=True, gc=False):
    """What is kept of an order that the platform lists."""

    name: str  # its external id
    status: str
    total_minor: int
    month: str
    country: str
    payment_id: str


class Paid(Struct, frozen=True, gc=False):
    """What is kept of a payment."""

    status: str
    captured_minor: int
    refunded_minor: int


class Reported(Struct):
    """Everything the platform said."""

    orders: dict[str, Listed] = field(default_factory=dict)  # by id; those of the replay
    credits: frozenset[str] = frozenset()  # what ours without an order are called
    others: int = 0
    payments: dict[str, Paid] = field(default_factory=dict)  # by order name
    returns_minor: list[int] = field(default_factory=list)  # what was paid back for each
    invoices_minor: list[int] = field(default_factory=list)
    notes_minor: list[int] = field(default_factory=list)  # credit notes of the orders
    alone_minor: list[int] = field(default_factory=list)  # credit notes without an order
    gaps: int = 0  # in the numbers of all documents
    ledger: list[Mapping[str, Any]] = field(default_factory=list)
    on_hand: dict[str, int] = field(default_factory=dict)


async def ask_platform(client: Client, outcomes: Outcomes, expected: Expected) -> Reported:
    """Read orders, payments, credit notes, the ledger and the stock."""
    reported = Reported(
        credits=frozenset(name for kind, name in outcomes.by_name if kind == "credit")
    )
    ours = {o.id for (kind, _), o in outcomes.by_name.items() if kind == "place" and o.id}
    async for order in client.orders():
        if order["id"] in ours:
            reported.orders[order["id"]] = listed(order)
        else:
            reported.others += 1
    await read_payments(client, reported, expected)
    await read_documents(client, reported, expected)
    async for each in items(client, "/v1/returns", status="refunded"):
        if each["order_id"] in reported.orders:
            reported.returns_minor.append(minor(each["refund"]))
    reported.ledger = (await client.get("/v1/ledger/balance"))["items"]
    async for level in items(client, "/v1/stock"):
        reported.on_hand[level["sku"].upper()] = level["on_hand"]
    return reported


async def items(client: Client, path: str, **params: str) -> AsyncIterator[dict[str, Any]]:
    """Every item of a list, page by page."""
    cursor = ""
    while True:
        page = await client.get(path, limit=str(PAGE_ITEMS_MAX), cursor=cursor, **params)
        for item in page["items"]:
            yield item
        cursor = page["next"] or ""
        if not cursor:
            return


def listed(order: Mapping[str, Any]) -> Listed:
    """What is kept of an order."""
    return Listed(
        name=str(order["external_id"]),
        status=str(order["status"]),
        total_minor=minor(order["totals"]["total"]),
        month=local_month(order["placed_at"]),
        country=str((order.get("shipping_address") or {}).get("country", "")),
        payment_id=str((order.get("payment") or {}).get("id") or ""),
    )


async def read_payments(client: Client, reported: Reported, expected: Expected) -> None:
    """The payments of all orders that were confirmed, once what is to go back has gone."""
    give_up_at = time.monotonic() + CAPTURED_WITHIN_S
    slots = asyncio.Semaphore(ASKED_AT_ONCE)

    async def read(order: Listed) -> None:
        async with slots:
            while True:
                payment = await client.get(f"/v1/payments/{order.payment_id}")
                paid = Paid(
                    payment["status"],
                    minor(payment.get("captured")),
                    minor(payment.get("refunded")),
                )
                back = paid.refunded_minor >= expected.back_minor[order.name]
                settled = paid.status in SETTLED and (back or paid.status == "voided")
                if settled or time.monotonic() > give_up_at:
                    reported.payments[order.name] = paid
                    return
                await asyncio.sleep(POLL_S)

    async with asyncio.TaskGroup() as group:
        for order in reported.orders.values():
            # A refused order took no money; ask only about those that may have.
            if order.payment_id and order.status in CONFIRMED:
                group.create_task(read(order))


async def read_documents(client: Client, reported: Reported, expected: Expected) -> None:
    """Invoices and credit notes, once there are as many as there must be."""
    give_up_at = time.monotonic() + CAPTURED_WITHIN_S
    wanted = expected.confirmed - sum(p.status == "voided" for p in reported.payments.values())
    while True:
        numbers: dict[str, list[int]] = defaultdict(list)
        invoices, notes, alone = list[int](), list[int](), list[int]()
        for kind, kept in (("invoice", invoices), ("credit_note", notes)):
            async for document in items(client, "/v1/documents", kind=kind):
                series, _, number = str(document["number"]).rpartition("-")
                numbers[series].append(int(number))
                if document["order_id"] in reported.orders:
                    kept.append(minor(document["total"]))
                elif document["order_id"] is None and document["external_id"] in reported.credits:
                    alone.append(minor(document["total"]))
        reported.invoices_minor, reported.notes_minor = invoices, notes
        reported.alone_minor = alone
        reported.gaps = sum(max(of) - len(set(of)) for of in numbers.values())
        if len(invoices) >= wanted or time.monotonic() > give_up_at:
            return
        await asyncio.sleep(POLL_S)


def compare(expected: Expected, reported: Reported, opening: Mapping[str, int]) -> list[Check]:
    """Our figures beside the platform's. Where others have orders too, the sums of the ledger and
    the units on hand are not ours alone, and are left out.
    """
    checks = [*compare_orders(expected, reported), *compare_money(expected, reported)]
    if not reported.others:
        checks += compare_stock(expected, reported, opening)
    return checks


def compare_orders(expected: Expected, reported: Reported) -> Iterator[Check]:
    """Orders: how many of each kind, and what they add up to."""
    orders = reported.orders.values()
    confirmed = [order for order in orders if order.status in CONFIRMED]

    def of(*statuses: str) -> str:
        return count(sum(order.status in statuses for order in orders))

    yield Check("orders confirmed", count(expected.confirmed), count(len(confirmed)))
    yield Check("orders refused after placing", count(expected.refused), of("rejected"))
    yield Check("orders called off", count(expected.cancelled), of("cancelled"))
    yield Check("orders shipped", count(expected.shipped), of(*SHIPPED))
    total = sum(order.total_minor for order in confirmed)
    yield Check("orders, in total", pounds(expected.ordered_minor), pounds(total))
    for what, ours, theirs in (
        ("placed in", expected.by_month_minor, sums(confirmed, "month")),
        ("sent to", expected.by_country_minor, sums(confirmed, "country")),
    ):
        for name in sorted({*ours, *theirs}):
            yield Check(f"orders {what} {name}", pounds(ours[name]), pounds(theirs[name]))


def sums(orders: list[Listed], name: str) -> Counter[str]:
    """Totals of orders by one of their columns."""
    found: Counter[str] = Counter()
    for order in orders:
        found[getattr(order, name)] += order.total_minor
    return found


def compare_money(expected: Expected, reported: Reported) -> Iterator[Check]:
    """Payments, credit notes and the ledger."""
    paid = reported.payments
    # A cancel that overtook the capture voided the money: then neither side of it moved.
    voided = sum(
        order.total_minor
        for order in reported.orders.values()
        if order.name in paid and paid[order.name].status == "voided"
    )
    taken = sum(payment.captured_minor for payment in paid.values())
    back = sum(payment.refunded_minor for payment in paid.values())
    given = expected.cancelled_minor + expected.returned_minor
    yield Check("captured or voided", pounds(expected.ordered_minor), pounds(taken + voided))
    yield Check("refunded or voided", pounds(given), pounds(back + voided))
    wrong = sum(
        paid[name].refunded_minor != amount and paid[name].status != "voided"
        for name, amount in expected.back_minor.items()
        if name in paid
    )
    yield Check("orders with another refund than ours", count(0), count(wrong))
    yield Check("returns paid back", count(expected.returns), count(len(reported.returns_minor)))
    returned = pounds(sum(reported.returns_minor))
    yield Check("paid back for returns", pounds(expected.returned_minor), returned)
    yield from compare_documents(expected, reported, voided)
    balances = {
        str(item["account"]): balance(item)
        for item in reported.ledger
        if item["currency"] == CURRENCY
    }
    yield Check("ledger, all accounts", pounds(0), pounds(sum(balances.values())))
    if not reported.others:
        sold, credited = expected.ordered_minor - voided, expected.credited_minor
        provider = sum(n for name, n in balances.items() if name.startswith("provider:"))
        yield Check("ledger, sales", pounds(-sold), pounds(balances.get("sales", 0)))
        yield Check("ledger, the provider", pounds(taken - back), pounds(provider))
        gone = pounds(given - voided + credited)
        yield Check("ledger, refunds and credits", gone, pounds(balances.get("refunds", 0)))


def compare_documents(expected: Expected, reported: Reported, voided: int) -> Iterator[Check]:
    """Invoices and credit notes: what they add up to, and that no number is missing."""
    invoiced = pounds(sum(reported.invoices_minor))
    yield Check("invoices, in total", pounds(expected.ordered_minor - voided), invoiced)
    given = expected.cancelled_minor + expected.returned_minor - voided
    noted = pounds(sum(reported.notes_minor))
    yield Check("credit notes of orders, in total", pounds(given), noted)
    alone = reported.alone_minor
    yield Check("credit notes without an order", count(expected.credits), count(len(alone)))
    credited = pounds(expected.credited_minor)
    yield Check("credited without an order", credited, pounds(sum(alone)))
    yield Check("numbers missing among the documents", count(0), count(reported.gaps))


def compare_stock(
    expected: Expected, reported: Reported, opening: Mapping[str, int]
) -> Iterator[Check]:
    """Units on hand of every sku: the opening, less what was shipped, written off and given away,
    and what came back and was found.
    """
    wanted = {sku: opening.get(sku, 0) + expected.moved[sku] for sku in {*opening, *expected.moved}}
    there = {sku: reported.on_hand.get(sku, 0) for sku in wanted}
    yield Check("units on hand", count(sum(wanted.values())), count(sum(there.values())))
    wrong = sorted(sku for sku in wanted if wanted[sku] != there[sku])
    yield Check("skus with other units on hand", count(0), count(len(wrong)))
    for sku in wrong[:10]:
        yield Check(f"units on hand of {sku}", count(wanted[sku]), count(there[sku]))


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


def minor(money: Mapping[str, str] | None) -> int:
    """An amount of the wire in pence; nothing is nothing."""
    if not money or money["currency"] != CURRENCY:
        return 0
    value = parse_minor(money["amount"], CURRENCY)
    assert value is not None, money
    return value


def count(number: int) -> str:
    """A number of things."""
    return f"{number:,}"


def pounds(amount_minor: int) -> str:
    """An amount in pounds."""
    return format_minor(amount_minor, CURRENCY)
