"""Units of work over a life: the contexts' own rules, and what their tables would refuse.

Each unit does what a handler does: copies of the rows go in, the rule decides, what changed comes
back with the events put where they are heard. What a handler reads and writes in SQL is said again
here in a line of Python; everything else is the code that runs in the shop.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, cast, get_args

import msgspec

from tradewind.checks.life.model import (
    NOW,
    POLICY,
    REVIEW_WITHIN,
    SKU,
    Call,
    Life,
    Shelf,
    Told,
    add_to,
    changed,
    line_of,
    settled_down,
)
from tradewind.contexts.fraud import handlers as fraud_handlers
from tradewind.contexts.fraud import rules as fraud
from tradewind.contexts.fraud.tables import HistoryRow, ReviewRow, ReviewStatus
from tradewind.contexts.inventory import events as stock
from tradewind.contexts.inventory import handlers as inventory_handlers
from tradewind.contexts.inventory import rules as inventory
from tradewind.contexts.inventory.commands import MAIN
from tradewind.contexts.inventory.tables import ReservationRow, ShelfRow
from tradewind.contexts.orders import handlers as orders_handlers
from tradewind.contexts.orders import rules as orders
from tradewind.contexts.orders.commands import CancelOrder
from tradewind.contexts.orders.events import OrderConfirmed
from tradewind.contexts.orders.tables import OrderRow
from tradewind.contexts.payments import rules as payments
from tradewind.contexts.payments.commands import ProviderOutcome, RefundPayment
from tradewind.contexts.payments.handlers import units as payments_handlers
from tradewind.contexts.payments.tables import Operation
from tradewind.kernel.messages import Event, TimerSet
from tradewind.kernel.problems import Problem

CONSUMERS = {
    "orders": orders_handlers.News,
    "inventory": inventory_handlers.StockEvent,
    "payments": payments_handlers.OrderEvent,
    "fraud": fraud_handlers.ScoredEvent,
}
LISTENS: dict[str, frozenset[type[Event]]] = {
    name: frozenset(get_args(union)) for name, union in CONSUMERS.items()
}
SOURCES = ("orders", "inventory", "payments", "fraud")
# One log: what a consumer hears about one order comes in the order of that log. Topics: each
# context has its own, and what two of them say may overtake each other.
LOG_STREAMS = tuple((name, SOURCES) for name in CONSUMERS)
TOPIC_STREAMS = tuple(
    (name, (source,))
    for name, kinds in LISTENS.items()
    for source in SOURCES
    if any(kind.type.startswith(f"{source}.") for kind in kinds)
)


class Broken(Exception):
    """A promise was broken on the way, in a sentence."""


class Units:
    """The units of work, with the streams in which events travel."""

    def __init__(self, *, topics: bool = False) -> None:
        self.streams = TOPIC_STREAMS if topics else LOG_STREAMS

    # -- events

    def announce(self, life: Life, source: str, events: Iterable[Event]) -> Life:
        """Put facts on the log: numbered without a gap, and into the inbox of each who listens."""
        facts = list(events)
        if not facts:
            return life
        inboxes = [list(inbox) for inbox in life.inboxes]
        told = life.told
        for event in facts:
            if not isinstance(event, orders.ReviewDue):
                told = counted(told, source, event)
            for place, (consumer, sources) in enumerate(self.streams):
                if type(event) in LISTENS[consumer] and source in sources:
                    inboxes[place].append(event)
        return changed(life, inboxes=tuple(map(tuple, inboxes)), told=told)

    def take(self, life: Life, place: int, count: int) -> tuple[Life, tuple[Event, ...]]:
        """The next events of a stream, and the life in which they are handled."""
        inbox = life.inboxes[place]
        events = inbox[:count]
        inboxes = (*life.inboxes[:place], inbox[count:], *life.inboxes[place + 1 :])
        heard = life.heard or tuple(() for _ in self.streams)
        heard = (*heard[:place], heard[place] + events, *heard[place + 1 :])
        return changed(life, inboxes=inboxes, heard=heard), events

    def hear(self, life: Life, consumer: str, events: Sequence[Event]) -> Life:
        """A batch of one consumer that is not inventory: it looks at this order alone."""
        unit: dict[str, Callable[[Life, Sequence[Any]], Life]] = {
            "orders": self.decide,
            "payments": self.follow,
            "fraud": self.score,
        }
        return settled_down(unit[consumer](life, events))

    # -- orders

    def decide(self, life: Life, news: Sequence[Any]) -> Life:
        """As `orders.handlers.decide_orders`."""
        late = any(isinstance(item, orders.ReviewDue) for item in news)
        desk = desk_with(life.order, now=NOW + REVIEW_WITHIN if late else NOW)
        for item in news:
            orders_handlers.fold(desk, item)
        return self.close(life, desk)

    def expire(self, life: Life) -> Life:
        """As the sweep `orders.handlers.expire_orders`."""
        desk = desk_with(life.order, now=life.order.decide_before)
        desk.expire_decision(life.order.order_id)
        return self.close(life, desk)

    def cancel(self, life: Life, read: OrderRow) -> Life:
        """As `orders.handlers.cancel_orders`, on the row as it was read."""
        desk = desk_with(read)
        command = CancelOrder(order_id=read.order_id, reason="changed my mind", by="cred_1")
        if isinstance(orders.cancel(desk, command), Problem):
            return life
        life = changed(life, told=msgspec.structs.replace(life.told, cancel_asked=True))
        return self.close(life, desk)

    def close(self, life: Life, desk: orders.Desk) -> Life:
        """As `orders.handlers.desk.close_desk`: the row, its events, answers and timer."""
        ruling, order_id = desk.ruling, life.order.order_id
        timer = ruling.timers.get(order_id)
        row = ruling.changed.get(order_id, life.order)
        life = changed(
            life,
            order=row,
            review_timer=life.review_timer if timer is None else isinstance(timer, TimerSet),
            told=answered(life.told, ruling.answers, order_id),
        )
        return self.announce(life, "orders", ruling.events)

    # -- payments

    def follow(self, life: Life, events: Sequence[Any]) -> Life:
        """As `payments.handlers.follow_orders`."""
        book = book_of(life, NOW)
        messages = [payments_handlers.message_of(event) for event in events]
        payments.follow_orders(book, [message for message in messages if message is not None])
        return self.save(life, book)

    def record(self, life: Life, outcome: ProviderOutcome, now: datetime) -> Life:
        """As `payments.handlers.record_outcomes`."""
        book = book_of(life, now)
        payments.record(book, outcome)
        return settled_down(self.save(life, book))

    def refund(self, life: Life, amount_minor: int) -> Life:
        """As `payments.handlers.refund_payments`; the same life where it is refused."""
        book = book_of(life, NOW)
        asked = life.told.refunds_asked + 1
        command = RefundPayment(
            payment_id=life.order.payment_id,
            refund_id=f"ref_asked_{asked}",
            amount_minor=amount_minor,
            currency=life.order.currency,
            reason="broken",
        )
        if isinstance(payments.request_refund(book, command), Problem):
            return life
        told = msgspec.structs.replace(life.told, refunds_asked=asked)
        return settled_down(self.save(changed(life, told=told), book))

    def take_up(self, life: Life) -> Life:
        """As the sweep `payments.handlers.take_up_due`."""
        book = book_of(life, NOW)
        for case in book.by_payment.values():
            payments.take_up(book, case)
        return settled_down(self.save(life, book))

    def save(self, life: Life, book: payments.Book) -> Life:
        """As `payments.handlers.rows.save`: rows, postings, events, and the calls that go out."""
        case = book.by_order.get(life.order.order_id)
        if case is None:
            life = changed(life, ended=life.ended or bool(book.ended_now))
            return self.announce(life, "payments", book.events)
        look_at_table(life, book, case.open)
        known = {key for key, _ in life.decided}
        for key in book.operations_new:
            if key in known or (life.operation is not None and life.operation.key == key):
                raise Broken(f"the key {key} is used for a second operation")
        calls = life.calls
        if book.calls:
            calls = frozenset(msgspec.structs.replace(call, latest=False) for call in calls)
            calls |= {
                Call(call.key, call.operation, call.amount_minor, call.look_up)
                for call in book.calls
                if case.open is not None and call.claim == case.open.claim
            }
        postings = [(p.debit, p.amount_minor) for p in book.postings]
        postings += [(p.credit, -p.amount_minor) for p in book.postings]
        told = life.told
        if book.answers:
            count = told.refunds_answered + len(book.answers)
            told = msgspec.structs.replace(told, refunds_answered=count)
        life = changed(
            life,
            payment=case.payment,
            operation=case.open,
            refunds=tuple(case.refunds[name] for name in sorted(case.refunds)),
            ledger=add_to(life.ledger, postings) if postings else life.ledger,
            calls=calls,
            told=told,
        )
        return self.announce(life, "payments", book.events)

    # -- fraud

    def score(self, life: Life, events: Sequence[Any]) -> Life:
        """As `fraud.handlers.score_payments`."""
        order_id = life.order.order_id
        requests = [fraud_handlers.request_of(event) for event in events]
        held = [order_id] if life.review is not None and life.review.status == "held" else []
        found = fraud.judge(
            requests,
            [HistoryRow(order_id, 0, life.scored, life.gone)],
            held,
            now=NOW,
            review_within_s=REVIEW_WITHIN.total_seconds(),
        )
        review = life.review
        for opened in found.opened.values():
            review = review_of(life, opened.status)
        if found.closed and review is not None:
            review = msgspec.structs.replace(review, status="closed")
        scored = life.scored or bool(found.scores)
        gone = life.gone or bool(found.ended)
        life = changed(life, scored=scored, review=review, gone=gone)
        return self.announce(life, "fraud", found.events)

    def review(self, life: Life, verdict: str) -> Life:
        """As `fraud.handlers.decide_reviews`; the same life where it is refused."""
        assert life.review is not None
        request = fraud.DecideReviewRequest(
            life.order.order_id, cast(ReviewStatus, verdict), "looked at", "cred_2"
        )
        decisions = fraud.review({life.order.order_id: life.review}, [request], now=NOW)
        if not decisions.decided:
            return life
        review = msgspec.structs.replace(
            life.review, status=decisions.decided[0].status, version=decisions.decided[0].version
        )
        return self.announce(changed(life, review=review), "fraud", decisions.events)

    # -- inventory

    def keep(
        self, lives: Sequence[Life], shelf: Shelf, requests: Sequence[inventory.Request]
    ) -> tuple[list[Life], Shelf]:
        """As `inventory.handlers.keep_stock` and `set_stock`: one shelf, reservations of all."""
        book = inventory.open_book(
            [shelf_row(shelf)],
            [reservation_row(life.reservation) for life in lives if life.reservation is not None],
            main=MAIN,
            low_stock_quantity=0,
        )
        inventory.decide(book, requests)
        place = book.skus[SKU].shelves[0]
        short = shelf.short if place.taken_only else place.short
        if place.reserved < 0 or short != max(place.reserved - place.on_hand, 0):
            raise Broken(
                f"the table refuses {place.reserved} reserved of {place.on_hand}: never_oversold"
            )
        after = []
        for life in lives:
            order_id = life.order.order_id
            kept = book.reservations.get(order_id)
            facts = [e for e in book.events if e.subject == order_id]
            life = changed(life, reservation=None if kept is None else copy.copy(kept))
            after.append(self.announce(life, "inventory", facts))
        counts_left = shelf.counts_left - any(isinstance(r, inventory.Count) for r in requests)
        mark = book.skus[SKU].availability
        return after, Shelf(place.on_hand, place.reserved, short, str(mark), counts_left)


def desk_with(row: OrderRow, *, now: datetime = NOW) -> orders.Desk:
    """A desk with one order on it."""
    lines = {row.order_id: [line_of(int(row.order_id.removeprefix("ord_")))]}
    return orders.Desk([copy.copy(row)], lines, now=now, review_within=REVIEW_WITHIN)


def book_of(life: Life, now: datetime) -> payments.Book:
    """The payment of the order, as a unit reads it."""
    cases = []
    if life.payment is not None:
        case = payments.Case(
            copy.copy(life.payment), refunds={r.refund_id: copy.copy(r) for r in life.refunds}
        )
        case.open = None if life.operation is None else copy.copy(life.operation)
        cases.append(case)
    ended = [life.order.order_id] if life.ended else []
    return payments.Book(cases, now=now, policy=POLICY, ended=ended)


def look_at_table(life: Life, book: payments.Book, open_now: Operation | None) -> None:
    """What the statements of a unit make of the one row of payments.under_way. Raises `Broken`.

    They are one statement in the end: no row may be written twice.
    """
    if not book.operations_new and not book.operations_changed:
        return
    there = None if life.operation is None else life.operation.key
    begun, moved, ended = book.operations_begun, book.operations_moved, book.operations_ended
    if len(begun) + len(moved) + len(ended) > 1:
        raise Broken("two operations of one payment are under way")
    for operation in begun:
        if there is not None:
            raise Broken(f"{operation.key} begins while {there} is under way")
        there = operation.key
    for operation in (*moved, *ended):
        if there is None:
            raise Broken(f"{operation.key} is written, and nothing is under way")
        there = None if ended else operation.key
    if there != (None if open_now is None else open_now.key):
        raise Broken(f"the table says that {there} is under way, the rules say otherwise")


def review_of(life: Life, status: Any) -> ReviewRow:
    """A review as fraud opens it."""
    return ReviewRow(
        order_id=life.order.order_id,
        payment_id=life.order.payment_id,
        status=status,
        version=1,
        score=80,
        reasons="[]",
        held_at=NOW,
        review_before=NOW + REVIEW_WITHIN,
        ended_at=None,
        reviewer=None,
        note=None,
    )


def shelf_row(shelf: Shelf) -> ShelfRow:
    """The shelf as inventory reads it."""
    return ShelfRow(
        sku_key=SKU,
        sku=SKU,
        availability=cast(stock.Availability, shelf.availability),
        sequence=1,
        product=None,
        product_sequence=0,
        location=MAIN,
        on_hand=shelf.on_hand,
        reserved=shelf.reserved,
        short=shelf.short,
    )


def reservation_row(kept: inventory.Reservation) -> ReservationRow:
    """A reservation as inventory reads it."""
    return ReservationRow(
        kept.order_id,
        kept.status,
        kept.version,
        list(kept.sku_keys),
        list(kept.quantities),
        kept.locations,
    )


def counted(told: Told, source: str, event: Event) -> Told:
    """What was told, after one more fact. Raises `Broken` where a number is missing or repeated."""
    last = dict(told.sequences).get(source, 0)
    if event.sequence != last + 1:
        raise Broken(f"{source} announces {type(event).__name__}.{event.sequence} after .{last}")
    return msgspec.structs.replace(
        told,
        sequences=tuple(sorted({**dict(told.sequences), source: event.sequence}.items())),
        reserved=told.reserved + isinstance(event, stock.StockReserved),
        allocated=told.allocated + isinstance(event, stock.StockAllocated),
        released=told.released + isinstance(event, stock.StockReleased),
        confirmed=told.confirmed or isinstance(event, OrderConfirmed),
    )


def answered(told: Told, answers: Any, order_id: str) -> Told:
    """What was told, after answers to the requests that wait for them."""
    placed = answers.get(order_id)
    cancelled = answers.get(orders.cancellation(order_id))
    if placed is not None:
        if told.placed:
            raise Broken(f"whoever placed the order is answered {told.placed}, and then again")
        said = placed.code if isinstance(placed, Problem) else str(placed.status)
        told = msgspec.structs.replace(told, placed=said)
    if cancelled is not None and not told.cancelled:
        told = msgspec.structs.replace(told, cancelled=str(cancelled.status))
    return told
