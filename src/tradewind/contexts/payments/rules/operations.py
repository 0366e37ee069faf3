"""Operations: what is asked of the provider, when, and for how long an answer is awaited."""

import zlib
from datetime import datetime, timedelta

from tradewind.contexts.payments.commands import OperationName, ProviderCall
from tradewind.contexts.payments.rules.book import LOST, Book, Case
from tradewind.contexts.payments.tables import Operation

# From the answer's arrival to its commit, in a busy process: claims outlast their call by this.
LEASE_SLACK_S = 1.5
# Shorter waits are spent in the process, longer ones are left to the sweep.
WAIT_IN_PROCESS_S = 2.0
# A look-up is a read: a provider that is alive answers at once.
LOOK_UP_TIMEOUT_S = 1.0
# No time is left for an attempt below this.
ATTEMPT_S_MIN = 0.2
# Pauses grow with the age of the operation (each about as long as all before): shortest, longest.
AUTHORISE_PAUSE_S = (0.1, 0.4)
PAUSE_S = (0.3, 60.0)
# An authorisation that was given up is looked for this often and this long, then it never was.
LATE_PAUSE_S = (5.0, 3_600.0)
LATE_S_MAX = 24 * 3_600.0


def start(
    book: Book, case: Case, name: OperationName, amount_minor: int, *, refund_id: str | None = None
) -> None:
    """A new operation, claimed at once by this process."""
    payment = case.payment
    key = f"{payment.payment_id}:{name}"
    operation = Operation(
        key=f"{key}:{refund_id}" if refund_id else key,
        payment_id=payment.payment_id,
        operation=name,
        refund_id=refund_id,
        amount_minor=amount_minor,
        status="requested",
        attempt=1,
        claim=0,
        claimed=False,
        due_at=book.now,
        deadline_at=later_by(book.now, book.policy.total_timeout_s)
        if name == "authorise"
        else None,
        requested_at=book.now,
    )
    case.open = operation
    book.operations_new[operation.key] = operation
    call(book, case, operation)


def call(book: Book, case: Case, operation: Operation, *, wait_s: float = 0.0) -> None:
    """Claim it: a call, or a look-up where the key is in doubt; soon, or later by the sweep."""
    payment = case.payment
    case.changed = True
    book.touch(operation)
    operation.claim += 1
    operation.claimed = wait_s <= WAIT_IN_PROCESS_S
    if not operation.claimed:
        operation.due_at = later_by(book.now, wait_s)
        return
    in_doubt = operation.status == "unknown"
    timeout_s = book.policy.attempt_timeout_s
    if in_doubt:
        timeout_s = min(timeout_s, LOOK_UP_TIMEOUT_S)
    elif operation.deadline_at is not None:
        left_s = seconds(operation.deadline_at, book.now) - wait_s
        timeout_s = max(ATTEMPT_S_MIN, min(timeout_s, left_s))
    operation.due_at = later_by(book.now, wait_s + timeout_s + LEASE_SLACK_S)
    book.calls.append(
        ProviderCall(
            key=operation.key,
            claim=operation.claim,
            look_up=in_doubt,
            payment_id=payment.payment_id,
            order_id=payment.order_id,
            operation=operation.operation,
            amount_minor=operation.amount_minor,
            currency=payment.currency,
            token=payment.token,
            reference=f"{payment.payment_id}:authorise",
            wait_s=wait_s,
            timeout_s=timeout_s,
        )
    )


def take_up(book: Book, case: Case) -> None:
    """The sweep found an operation due: a wait is over, or the process that claimed it is gone."""
    operation = case.open
    if operation is None or operation.due_at > book.now:
        return
    if operation.claimed:
        # It may have got anywhere. Look, before anything else.
        if operation.status == "requested" and operation.deadline_at is not None:
            # What a dying process cost is not the customer's: there is time for one more attempt.
            again_by = later_by(book.now, book.policy.attempt_timeout_s)
            operation.deadline_at = max(operation.deadline_at, again_by)
        if operation.status == "requested":
            book.reconcile(case, operation, LOST[operation.operation])
        operation.status = "unknown"
    call(book, case, operation)


def pause_s(operation: Operation, now: datetime, limits_s: tuple[float, float]) -> float:
    """As long as the operation is old, so pauses double; within limits, spread by a fifth.

    The spread follows from key and claim: rules know no chance, yet a crowd is pulled apart.
    """
    spread = 0.8 + 0.4 * (zlib.crc32(f"{operation.key}:{operation.claim}".encode()) % 1_000) / 1_000
    shortest_s, longest_s = limits_s
    return spread * max(shortest_s, min(longest_s, age_s(operation, now)))


def age_s(operation: Operation, now: datetime) -> float:
    """How long ago the operation was asked for."""
    return seconds(now, operation.requested_at)


def seconds(later: datetime | None, earlier: datetime) -> float:
    """From `earlier` to `later`; for ever, where there is no later."""
    return float("inf") if later is None else (later - earlier).total_seconds()


def later_by(moment: datetime, wait_s: float) -> datetime:
    """`wait_s` after a moment."""
    return moment + timedelta(seconds=wait_s)
