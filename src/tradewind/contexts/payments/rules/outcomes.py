"""Outcomes: what the provider said, or did not, and what that means for the money."""

import msgspec

from tradewind.contexts.payments import events as facts
from tradewind.contexts.payments.commands import ProviderOutcome
from tradewind.contexts.payments.problems import ProviderRefusedRefund
from tradewind.contexts.payments.rules.book import Book, Case
from tradewind.contexts.payments.rules.operations import (
    ATTEMPT_S_MIN,
    AUTHORISE_PAUSE_S,
    LATE_PAUSE_S,
    LATE_S_MAX,
    PAUSE_S,
    age_s,
    call,
    pause_s,
    seconds,
)
from tradewind.contexts.payments.rules.steps import REFUNDS, next_step
from tradewind.contexts.payments.tables import Operation, Payment, Refund, RefundView
from tradewind.kernel.answers import Answer
from tradewind.kernel.money import wire
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms

RECEIVABLE = "receivable"
SALES = "sales"
PROVIDER = "provider:simulator"


def record(book: Book, outcome: ProviderOutcome) -> None:
    """Fold one outcome in. Repeats and latecomers change nothing."""
    case = book.by_payment.get(outcome.payment_id)
    operation = None if case is None else case.open
    if case is None or operation is None or operation.key != outcome.key:
        return
    book.causes[case.payment.order_id] = f"payments/operation/{outcome.key}"
    if outcome.outcome in ("succeeded", "refused"):
        finish(book, case, operation, outcome.outcome == "succeeded", outcome.reason)
        CONCLUSIONS[operation.operation](book, case, operation)
        next_step(book, case)
    elif outcome.claim != operation.claim:
        return
    elif outcome.outcome == "failed":
        again(book, case, operation, reason="error")
    elif outcome.outcome == "not_found":
        again(book, case, operation, reason="timeout")
    elif outcome.outcome == "no_answer" and operation.status == "requested":
        operation.status = "unknown"
        call(book, case, operation)
    else:
        postpone(book, case, operation)


def finish(
    book: Book, case: Case, operation: Operation, succeeded: bool, reason: str | None
) -> None:
    """Nothing is under way any more."""
    if operation.status == "unknown":
        book.reconcile(case, operation, "unknown_outcome")
    operation.status = "succeeded" if succeeded else "refused"
    operation.reason = reason or None
    operation.claimed = False
    book.touch(operation)
    case.open = None
    case.changed = True


def again(book: Book, case: Case, operation: Operation, *, reason: str) -> None:
    """Nothing happened at the provider: the next attempt, with the same key, if there is one."""
    if operation.operation == "authorise":
        left_s = seconds(operation.deadline_at, book.now)
        if case.payment.status != "pending":
            if age_s(operation, book.now) > LATE_S_MAX:
                finish(book, case, operation, False, "not_taken")
            else:
                call(book, case, operation, wait_s=pause_s(operation, book.now, LATE_PAUSE_S))
            return
        spent = operation.attempt >= book.policy.attempts_max or left_s < ATTEMPT_S_MIN
        if spent or case.payment.wanted == "nothing":
            give_up(book, case, operation, reason=reason)
            return
        wait_s = min(pause_s(operation, book.now, AUTHORISE_PAUSE_S), left_s - ATTEMPT_S_MIN)
    else:
        wait_s = pause_s(operation, book.now, PAUSE_S)
    operation.status = "requested"
    operation.attempt += 1
    call(book, case, operation, wait_s=max(0.0, wait_s))


def postpone(book: Book, case: Case, operation: Operation) -> None:
    """The provider could not be reached: the same again after a pause."""
    limits_s = PAUSE_S
    if operation.operation == "authorise":
        pending = case.payment.status == "pending"
        limits_s = AUTHORISE_PAUSE_S if pending else LATE_PAUSE_S
        if pending:
            wait_s = pause_s(operation, book.now, limits_s)
            if seconds(operation.deadline_at, book.now) - wait_s < ATTEMPT_S_MIN:
                give_up(book, case, operation, reason="timeout")
                return
    call(book, case, operation, wait_s=pause_s(operation, book.now, limits_s))


def give_up(book: Book, case: Case, operation: Operation, *, reason: str) -> None:
    """The customer has waited long enough. What the provider may hold is still looked for."""
    case.payment.status = "failed"
    case.payment.wanted = "nothing"
    book.announce(case, facts.PaymentFailed, reason=reason)
    operation.status = "unknown"
    call(book, case, operation, wait_s=pause_s(operation, book.now, LATE_PAUSE_S))


# What a decision of the provider means


def authorise_decided(book: Book, case: Case, operation: Operation) -> None:
    """Money is held, or the card was declined. An order that is dead by now is not told."""
    payment = case.payment
    given_up = payment.status == "failed"
    if operation.status == "succeeded":
        payment.status = "authorised"
        if payment.wanted != "nothing":
            terms = msgspec.json.decode(payment.terms, type=PaymentTerms)
            book.announce(case, facts.PaymentAuthorised, terms=terms)
    elif not given_up:
        payment.status = "declined"
        payment.wanted = "nothing"
        book.announce(case, facts.PaymentDeclined, reason=operation.reason or "declined")


def capture_decided(book: Book, case: Case, operation: Operation) -> None:
    """Money was taken; or never will be, and what is held must be let go."""
    payment = case.payment
    amount_minor = operation.amount_minor
    if operation.status == "succeeded":
        payment.status = "captured"
        payment.captured_minor = amount_minor
        book.announce(
            case, facts.PaymentCaptured, amount_minor=amount_minor, currency=payment.currency
        )
        book.post(payment, "sale", RECEIVABLE, SALES, amount_minor)
        book.post(payment, "settlement", PROVIDER, RECEIVABLE, amount_minor)
    else:
        payment.wanted = "nothing"
        book.announce(
            case,
            facts.CaptureRefused,
            amount_minor=amount_minor,
            currency=payment.currency,
            reason=operation.reason or "refused",
        )


def void_decided(book: Book, case: Case, operation: Operation) -> None:
    """Nothing is held any more; or the provider will not let go, which nobody expects."""
    payment = case.payment
    if operation.status == "succeeded":
        payment.status = "voided"
        book.announce(case, facts.PaymentVoided)
    else:
        payment.status = "failed"
        payment.halted = f"void refused: {operation.reason}"
        book.announce(case, facts.PaymentFailed, reason="void_refused")


def refund_decided(book: Book, case: Case, operation: Operation) -> None:
    """Money went back; or will not by this way."""
    payment = case.payment
    assert operation.refund_id is not None, "a refund operation names its refund"
    refund = case.refunds[operation.refund_id]
    case.refunds = {id_: other for id_, other in case.refunds.items() if id_ != refund.refund_id}
    book.refunds_changed[refund.refund_id] = refund
    payment.pending_refund_minor -= refund.amount_minor
    details = {
        "refund_id": refund.refund_id,
        "amount_minor": refund.amount_minor,
        "currency": payment.currency,
    }
    if operation.status == "succeeded":
        refund.status = "succeeded"
        payment.refunded_minor += refund.amount_minor
        whole = payment.refunded_minor == payment.captured_minor
        payment.status = "refunded" if whole else "partially_refunded"
        book.announce(
            case,
            facts.PaymentRefunded,
            refunded_minor=payment.refunded_minor,
            captured_minor=payment.captured_minor,
            reason=refund.reason if refund.asked else None,
            **details,
        )
        book.post(payment, "return", REFUNDS, RECEIVABLE, refund.amount_minor)
        book.post(payment, "repayment", RECEIVABLE, PROVIDER, refund.amount_minor)
    else:
        refund.status = "refused"
        reason = operation.reason or "refused"
        if not refund.asked:
            payment.halted = f"refund refused: {reason}"
        book.announce(case, facts.RefundRefused, reason=reason, **details)
    if refund.asked:
        book.answers[refund.refund_id] = answer_of(refund, payment, operation)


def answer_of(refund: Refund, payment: Payment, operation: Operation) -> Answer | Problem:
    """What the one who asked for a refund is told."""
    if refund.status == "refused":
        return ProviderRefusedRefund(
            f"The provider says: {operation.reason or 'refused'}.", refund_id=refund.refund_id
        )
    view = RefundView(
        id=refund.refund_id,
        payment_id=payment.payment_id,
        amount=wire(refund.amount_minor, payment.currency),
        status=refund.status,
        reason=refund.reason,
        created_at=refund.created_at,
    )
    return Answer(
        status=201,
        body=view,
        headers={"Location": f"/v1/payments/{payment.payment_id}/refunds/{refund.refund_id}"},
    )


CONCLUSIONS = {
    "authorise": authorise_decided,
    "capture": capture_decided,
    "void": void_decided,
    "refund": refund_decided,
}
