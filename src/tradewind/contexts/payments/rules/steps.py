"""Steps: what orders and callers want of a payment, and what to start for it."""

from collections.abc import Sequence

import msgspec

from tradewind.contexts.payments import events as facts
from tradewind.contexts.payments.commands import RefundPayment
from tradewind.contexts.payments.problems import (
    CurrencyMismatch,
    NothingCaptured,
    PaymentNotFound,
    RefundExceedsCapture,
)
from tradewind.contexts.payments.rules.book import (
    Begin,
    Book,
    Case,
    Credit,
    Message,
    Posting,
    Repay,
)
from tradewind.contexts.payments.rules.operations import start
from tradewind.contexts.payments.tables import Payment, Refund, Wanted
from tradewind.kernel.answers import Pending
from tradewind.kernel.money import wire
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms

REFUNDS = "refunds"
CREDITS = "credits"
RANK: dict[Wanted, int] = {"authorised": 0, "captured": 1, "nothing": 2}


def follow_orders(book: Book, messages: Sequence[Message]) -> None:
    """Begin payments, and move what is wanted of them; give back and credit."""
    for message in messages:
        if isinstance(message, Begin):
            begin(book, message.terms)
            continue
        if isinstance(message, Repay):
            repay(book, message)
            continue
        if isinstance(message, Credit):
            credit(book, message)
            continue
        case = book.by_order.get(message.order_id)
        if case is not None:
            want(book, case, message.wanted)
        elif message.absent != "ignore" and message.order_id not in book.ended:
            book.ended.add(message.order_id)
            book.ended_now.append(message.order_id)
            if message.absent == "announce":
                book.events.append(
                    facts.PaymentVoided(
                        sequence=1, order_id=message.order_id, payment_id=message.payment_id
                    )
                )


def repay(book: Book, message: Repay) -> None:
    """Give back what a return is worth; more than is left is refused, and somebody must look."""
    case = book.by_order.get(message.order_id)
    if case is None or message.refund_id in case.refunds:
        return
    payment = case.payment
    left_minor = payment.captured_minor - payment.refunded_minor - payment.pending_refund_minor
    if message.amount_minor > left_minor:
        book.announce(
            case,
            facts.RefundRefused,
            refund_id=message.refund_id,
            amount_minor=message.amount_minor,
            currency=payment.currency,
            reason="refund_exceeds_capture",
        )
        return
    add_refund(
        book, case, message.refund_id, message.amount_minor, reason=message.reason, asked=False
    )
    next_step(book, case)


def credit(book: Book, message: Credit) -> None:
    """Book what is owed by a credit note."""
    book.postings.append(
        Posting(
            payment_id=message.credit_note_id,
            order_id=message.number,
            kind="credit",
            debit=REFUNDS,
            credit=CREDITS,
            amount_minor=message.amount_minor,
            currency=message.currency,
        )
    )


def begin(book: Book, terms: PaymentTerms) -> None:
    """A payment for an order, once; none for an order that has ended."""
    if terms.order_id in book.by_order or terms.order_id in book.ended:
        return
    payment = Payment(
        payment_id=terms.payment_id,
        order_id=terms.order_id,
        amount_minor=terms.amount_minor,
        currency=terms.currency,
        token=terms.token,
        terms=msgspec.json.encode(terms).decode(),
    )
    case = Case(payment, is_new=True)
    book.by_order[payment.order_id] = book.by_payment[payment.payment_id] = case
    start(book, case, "authorise", payment.amount_minor)


def want(book: Book, case: Case, wanted: Wanted) -> None:
    """Move the aim, never back, and start what it takes."""
    payment = case.payment
    if RANK[wanted] > RANK[payment.wanted]:
        payment.wanted = wanted
        case.changed = True
        next_step(book, case)


def next_step(book: Book, case: Case) -> None:
    """Start what is missing between how the money stands and how it should."""
    payment = case.payment
    if case.open is not None:
        return  # its outcome comes first
    if payment.status == "authorised":
        if payment.wanted == "captured":
            start(book, case, "capture", payment.amount_minor)
        elif payment.wanted == "nothing":
            start(book, case, "void", payment.amount_minor)
    elif payment.status in ("captured", "partially_refunded", "refunded"):
        if case.refunds:
            refund = case.refunds[min(case.refunds)]  # the oldest: ids are in order of time
            start(book, case, "refund", refund.amount_minor, refund_id=refund.refund_id)
        elif payment.wanted == "nothing" and payment.halted is None:
            refund_the_rest(book, case)


def refund_the_rest(book: Book, case: Case) -> None:
    """The order died after the money was taken: all that is left goes back."""
    payment = case.payment
    # Once per payment, so its id follows from the payment's.
    refund_id = "ref_" + payment.payment_id.removeprefix("pay_")
    rest_minor = payment.captured_minor - payment.refunded_minor
    if rest_minor > 0:
        add_refund(book, case, refund_id, rest_minor, reason="order_ended", asked=False)
        next_step(book, case)
    elif payment.status == "captured":
        # A free order: nothing to move, yet those who wait for the money to be back are told.
        payment.status = "refunded"
        book.announce(
            case,
            facts.PaymentRefunded,
            refund_id=refund_id,
            amount_minor=0,
            currency=payment.currency,
            refunded_minor=0,
            captured_minor=0,
        )


def request_refund(book: Book, command: RefundPayment) -> Pending | Problem:
    """Take a refund in hand, if that much is left; answered when the provider has decided."""
    case = book.by_payment.get(command.payment_id)
    if case is None:
        return PaymentNotFound("Look at the payment of the order for its id.")
    payment = case.payment
    if command.currency != payment.currency:
        return CurrencyMismatch(f"The payment was made in {payment.currency}.")
    if payment.captured_minor == 0:
        return NothingCaptured("Money that is only authorised goes back by cancelling the order.")
    left_minor = payment.captured_minor - payment.refunded_minor - payment.pending_refund_minor
    if command.amount_minor > left_minor:
        left = wire(left_minor, payment.currency)
        return RefundExceedsCapture(
            f"At most {left.amount} {left.currency} can be refunded.",
            refundable={"amount": left.amount, "currency": left.currency},
        )
    add_refund(
        book, case, command.refund_id, command.amount_minor, reason=command.reason, asked=True
    )
    next_step(book, case)
    return Pending(command.refund_id)


def add_refund(
    book: Book, case: Case, refund_id: str, amount_minor: int, *, reason: str, asked: bool
) -> None:
    """Set the amount aside, so that no other refund can promise it again."""
    refund = Refund(
        refund_id=refund_id,
        payment_id=case.payment.payment_id,
        amount_minor=amount_minor,
        reason=reason,
        status="pending",
        asked=asked,
        created_at=book.now,
    )
    case.refunds = {**case.refunds, refund_id: refund}
    case.payment.pending_refund_minor += amount_minor
    case.changed = True
    book.refunds_new[refund_id] = refund
