"""What must hold: of every life at every moment, of a life at rest, and of the shelf."""

from collections.abc import Iterator, Sequence

from tradewind.checks.life.model import TOTAL_MINOR, Life, Shelf
from tradewind.contexts.payments.rules import PROVIDER

GONE = ("voided", "declined", "failed", "refunded")


def broken_always(life: Life) -> Iterator[str]:
    """Promises that hold at every moment."""
    told, effects, payment, held = life.told, life.effects, life.payment, life.held
    for operation in ("authorise", "capture", "void"):
        if effects.count(operation) > 1:
            yield f"the provider was made to {operation} twice"
    if "capture" in effects and not told.confirmed:
        yield "money was taken for an order that was never confirmed"
    if held is not None and held.refunded_minor > held.captured_minor:
        yield "more went back than was taken"
    if payment is not None:
        moved = payment.refunded_minor + payment.pending_refund_minor
        if not 0 <= moved <= payment.captured_minor <= payment.amount_minor:
            yield "the table refuses the payment: never_back_more_than_taken"
        if payment.captured_minor > (0 if held is None else held.captured_minor):
            yield "we say that money was taken, the provider does not"
        if payment.refunded_minor > (0 if held is None else held.refunded_minor):
            yield "we say that money went back, the provider does not"
        if (payment.captured_minor == 0) == (
            payment.status in ("captured", "refunded", "partially_refunded")
        ):
            yield "the table refuses the payment: status_says_what_moved"
    balances = dict(life.ledger)
    net = 0 if payment is None else payment.captured_minor - payment.refunded_minor
    if sum(balances.values()) or balances.get("receivable", 0):
        yield f"the ledger does not sum to zero: {balances}"
    if balances.get(PROVIDER, 0) != net:
        yield f"the ledger says {balances.get(PROVIDER, 0)}, the payment {net}"
    if max(told.reserved, told.allocated, told.released) > 1:
        yield "a reservation was told of twice"
    if told.reserved < max(told.allocated, told.released):
        yield "stock was allocated or released that was never reserved"
    row = life.order
    if (row.status == "rejected") != (row.rejection_code is not None):
        yield "the table refuses the order: rejected_says_why"
    if (row.status == "placed") != (row.decided_at is None):
        yield "the table refuses the order: decided_has_a_time"
    if (row.status == "placed") == bool(told.placed):
        yield f"the order is {row.status}, its customer was answered {told.placed or 'nothing'}"
    if told.confirmed and row.status not in ("confirmed", "cancelled"):
        yield f"a confirmed order became {row.status}"


def broken_at_rest(life: Life) -> Iterator[str]:
    """Promises to an order about which nothing is under way any more."""
    row, payment, told = life.order, life.payment, life.told
    if row.status in ("placed", "held"):
        yield f"nothing happens any more, and the order is still {row.status}"
    elif row.status == "confirmed":
        yield from broken_confirmed(life)
    else:
        yield from broken_dead(life)
    if told.reserved and (life.reservation is None or life.reservation.status == "reserved"):
        yield "what was reserved was neither allocated nor released"
    if told.refunds_answered != told.refunds_asked:
        yield "somebody asked for a refund and was never answered"
    if life.review is not None and life.review.status == "held":
        yield f"a reviewer is asked about an order that is {row.status}"
    if payment is not None and row.payment_status != payment.status:
        accepted = row.payment_status == "failed" and payment.status == "voided"
        if not accepted:
            yield f"the order says {row.payment_status} of its payment, which is {payment.status}"


def broken_confirmed(life: Life) -> Iterator[str]:
    """The shop delivers: the units are the customer's, the money is taken, once and whole."""
    if life.reservation is None or life.reservation.status != "allocated":
        yield "a confirmed order has no units"
    if life.held is None or life.held.captured_minor != TOTAL_MINOR:
        yield "a confirmed order was not paid"


def broken_dead(life: Life) -> Iterator[str]:
    """Nothing is held, nothing is kept, and who called it off knows."""
    row, held, payment = life.order, life.held, life.payment
    if life.reservation is not None and life.reservation.status in ("reserved", "allocated"):
        yield f"an order that is {row.status} has units"
    halted = payment is not None and payment.halted is not None
    if held is not None and not held.voided and not halted:
        if not held.captured:
            yield f"money stays blocked for an order that is {row.status}"
        elif held.refunded_minor != held.captured_minor:
            yield f"money is kept for an order that is {row.status}"
    if payment is not None and payment.status not in GONE and not halted:
        yield f"the order is {row.status}, its payment {payment.status}"
    if not row.stock_released:
        yield f"the order is {row.status}, and does not know its stock released"
    if life.told.cancel_asked and not life.told.cancelled and not halted:
        yield "somebody cancelled and was never answered"


def broken_shelf(shelf: Shelf, lives: Sequence[Life]) -> Iterator[str]:
    """No unit is promised twice."""
    promised = sum(
        sum(life.reservation.quantities)
        for life in lives
        if life.reservation is not None and life.reservation.status in ("reserved", "allocated")
    )
    if promised != shelf.reserved:
        yield f"{promised} units are promised, the shelf says {shelf.reserved}"
    if shelf.reserved - shelf.on_hand > shelf.short:
        yield f"oversold: {shelf.reserved} promised of {shelf.on_hand}"
