"""The producer of the log benchmark: a process that announces orders, as fast as it is let.

For each line ``{"dsn", "events", "unit", "clients", "bells"}`` on its standard input it puts so
many events on the log of that database, so many in each unit of work, through the platform's own
`log.append` and with commits that wait for the disk; then it prints where they stand.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from tradewind.contexts.fraud.events import PaymentCleared
from tradewind.contexts.inventory.events import StockAllocated, StockReserved
from tradewind.contexts.notifications.events import MessageSent
from tradewind.contexts.orders.events import OrderConfirmed, OrderLine, OrderPlaced
from tradewind.contexts.payments.events import PaymentAuthorised, PaymentCaptured
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision, Event, Position, partition_of
from tradewind.kernel.terms import PaymentTerms
from tradewind.platform.bus import delivery
from tradewind.platform.bus.delivery import Unit, Workplace
from tradewind.platform.bus.log import Cause
from tradewind.platform.bus.members import ANSWERS_CHANNEL, LOG_CHANNEL
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.pool import Pool
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.settings import Settings

# The facts of an order that goes through. Here one context tells them all: a unit has one source.
SOURCE = "orders"
EVENTS: tuple[type[Event], ...] = (
    OrderPlaced,
    StockReserved,
    PaymentAuthorised,
    PaymentCleared,
    OrderConfirmed,
    StockAllocated,
    MessageSent,
    PaymentCaptured,
)
TRACE = "00-bfc4160c46a25d690cac87067bd32089-09d029ba15f15823-00"
AT = datetime(2026, 11, 22, 16, 39, 2, 824802, tzinfo=UTC)
LINES = tuple(
    OrderLine(
        sku=f"B{number:04d}",
        quantity=1,
        unit_price_e4=99_900,
        total_minor=999,
        title=f"Bench product {number:04d}",
    )
    for number in (17, 444, 987)
)


class Order(Struct, frozen=True):
    """What is to be announced, and how."""

    dsn: str
    events: int
    unit: int  # events in a unit of work
    clients: int  # units under way at a time
    bells: bool  # whether somebody listens, who is rung with each commit


class Announced(Struct, frozen=True):
    """What was announced. `last`: by partition, the place of its last event."""

    events: int
    seconds: float
    last: dict[int, Position]


def facts_of(order_id: str) -> list[Event]:
    """All that is told about an order, of the size that it has in the platform."""
    payment_id, customer, contact = (f"{kind}{order_id[3:]}" for kind in ("pay", "prs", "ctc"))
    terms = PaymentTerms(
        order_id=order_id,
        payment_id=payment_id,
        amount_minor=2_997,
        currency="GBP",
        token="tok_ok",
        customer=customer,
        contact=contact,
        guest=True,
        imported=False,
        shipping_country="GB",
        billing_country=None,
        placed_at=AT,
    )
    of_order = {"order_id": order_id, "payment_id": payment_id}
    return [
        OrderPlaced(
            sequence=1,
            order_id=order_id,
            lines=LINES,
            subtotal_minor=2_997,
            shipping_minor=0,
            tax_minor=0,
            discount_minor=0,
            fees_minor=0,
            channel="web",
            payment=terms,
            placed_at=AT,
            total_minor=2_997,
            currency="GBP",
        ),
        StockReserved(sequence=2, order_id=order_id, payment=terms),
        PaymentAuthorised(sequence=3, terms=terms, **of_order),
        PaymentCleared(sequence=4, score=0, reasons=(), **of_order),
        OrderConfirmed(
            sequence=5,
            total_minor=2_997,
            currency="GBP",
            customer=customer,
            contact=contact,
            confirmed_at=AT,
            **of_order,
        ),
        StockAllocated(sequence=6, order_id=order_id),
        MessageSent(
            sequence=7,
            order_id=order_id,
            message_id=f"msg{order_id[3:]}",
            kind="confirmation",
            via="mailbox",
            sent_at=AT,
        ),
        PaymentCaptured(sequence=8, amount_minor=2_997, currency="GBP", **of_order),
    ]


def units_of(events: int, unit: int) -> Iterator[list[Event]]:
    """So many events, order by order, in units of about `unit`: an order is not parted."""
    left = events
    while left > 0:
        batch: list[Event] = []
        while len(batch) < min(unit, left):
            batch += facts_of(new_id("ord"))
        yield batch[:left]
        left -= len(batch)


async def announce(order: Order) -> Announced:
    """Put the events of an order on the log."""
    pool = Pool(order.dsn, connections_max=order.clients, application="announcing")
    place = Workplace(
        pool=pool,
        clock=Clock(),
        settings=Settings(),
        committed=lambda done: None,
        bells=(LOG_CHANNEL, ANSWERS_CHANNEL) if order.bells else (),
    )
    batches = units_of(order.events, order.unit)
    last: dict[int, Position] = {}
    count = 0

    async def client() -> None:
        nonlocal count
        for batch in batches:
            done = await delivery.run(place, unit_of(batch))
            count += len(batch)
            for number, event in enumerate(batch, 1):
                partition = partition_of(event.key)
                at = Position(done.xid, number)
                last[partition] = max(at, last.get(partition, at))

    began = time.monotonic()
    try:
        await asyncio.gather(*(client() for _ in range(order.clients)))
    finally:
        await pool.close()
    return Announced(count, time.monotonic() - began, last)


def unit_of(batch: Sequence[Event]) -> Unit:
    """A unit of work that tells these facts and nothing else."""

    async def tell(tx: Transaction, messages: Sequence[Any]) -> Decision:
        return Decision(events=batch)

    causes = {event.key: Cause(f"orders/evt_{event.key}.1", TRACE) for event in batch}
    return Unit(context=SOURCE, handler=tell, messages=(), causes=causes)


def main() -> None:
    """One order a line, until there is none."""
    print("ready", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            announced = runner.run(announce(msgspec.json.decode(line, type=Order)))
            print(msgspec.json.encode(announced).decode(), flush=True)


if __name__ == "__main__":
    main()
