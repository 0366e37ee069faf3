"""The working state of a unit: its payments, and everything that changes in it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from tradewind.contexts.payments.commands import OperationName, ProviderCall
from tradewind.contexts.payments.events import PaymentEvent
from tradewind.contexts.payments.tables import Operation, Payment, Refund, Wanted
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Event, Reconciled, ReconciledCase
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms

Absent = Literal["announce", "remember", "ignore"]
DECIDED = frozenset({"succeeded", "refused"})


class Policy(Struct, frozen=True):
    """How patient we are with the provider."""

    attempt_timeout_s: float
    attempts_max: int  # of an authorisation; the others are tried until the provider decides
    total_timeout_s: float  # of an authorisation


class Begin(Struct, frozen=True):
    """Stock is held for an order: authorise its payment."""

    terms: PaymentTerms


class Aim(Struct, frozen=True, kw_only=True):
    """Where the money of an order should end, and what to do if it has no payment.

    `announce` that nothing will be taken; `remember` it in case its reservation comes late;
    `ignore` it, because there can be no reservation.
    """

    order_id: str
    payment_id: str
    wanted: Wanted
    absent: Absent = "ignore"


class Repay(Struct, frozen=True, kw_only=True):
    """Units of an order came back: so much goes back to the customer, once under this id."""

    order_id: str
    payment_id: str
    refund_id: str
    amount_minor: int
    reason: str


class Credit(Struct, frozen=True, kw_only=True):
    """A credit note that stands alone: so much is owed to a customer."""

    credit_note_id: str
    number: str
    amount_minor: int
    currency: str


Message = Begin | Aim | Repay | Credit

LOST: dict[OperationName, ReconciledCase] = {
    "authorise": "lost_authorise",
    "capture": "lost_capture",
    "void": "lost_void",
    "refund": "lost_refund",
}


class Posting(Struct, frozen=True):
    """One row of the ledger."""

    payment_id: str
    order_id: str
    kind: str
    debit: str
    credit: str
    amount_minor: int
    currency: str


class Case(Struct):
    """A payment, what it has under way, and those of its refunds that are not done."""

    payment: Payment
    open: Operation | None = None
    refunds: dict[str, Refund] = {}
    is_new: bool = False
    changed: bool = False


class Book:
    """The payments of one unit of work, and everything that changes in it."""

    def __init__(
        self,
        cases: Iterable[Case],
        *,
        now: datetime,
        policy: Policy,
        ended: Iterable[str] = (),
    ) -> None:
        self.now = now
        self.policy = policy
        self.by_order = {case.payment.order_id: case for case in cases}
        self.by_payment = {case.payment.payment_id: case for case in self.by_order.values()}
        self.ended = set(ended)
        self.ended_now: list[str] = []
        self.operations_new: dict[str, Operation] = {}
        self.operations_changed: dict[str, Operation] = {}
        self.refunds_new: dict[str, Refund] = {}
        self.refunds_changed: dict[str, Refund] = {}
        self.postings: list[Posting] = []
        self.events: list[Event] = []
        self.calls: list[ProviderCall] = []
        self.answers: dict[str, Answer | Problem] = {}
        self.reconciled: list[Reconciled] = []
        self.causes: dict[str, str] = {}  # order -> the operation whose outcome led to its facts

    @property
    def payments_new(self) -> list[Payment]:
        """Payments to insert."""
        return [case.payment for case in self.by_payment.values() if case.is_new]

    @property
    def payments_changed(self) -> list[Payment]:
        """Payments to update, in the order of their ids: the order in which rows are locked."""
        return sorted(
            (c.payment for c in self.by_payment.values() if c.changed and not c.is_new),
            key=lambda payment: payment.payment_id,
        )

    @property
    def operations_decided(self) -> list[Operation]:
        """Operations that the provider decided."""
        return [o for o in self.operations_changed.values() if o.status in DECIDED]

    @property
    def operations_ended(self) -> list[Operation]:
        """Those of them that leave nothing under way for their payment."""
        followed = {operation.payment_id for operation in self.operations_new.values()}
        return [o for o in self.operations_decided if o.payment_id not in followed]

    @property
    def operations_begun(self) -> list[Operation]:
        """Operations of payments that had nothing under way."""
        decided = {operation.payment_id for operation in self.operations_decided}
        return [o for o in self.operations_new.values() if o.payment_id not in decided]

    @property
    def operations_moved(self) -> list[Operation]:
        """Operations that go on, or stand where a decided one stood, by payment."""
        decided = {operation.payment_id for operation in self.operations_decided}
        moved = [o for o in self.operations_changed.values() if o.status not in DECIDED]
        moved += [o for o in self.operations_new.values() if o.payment_id in decided]
        return sorted(moved, key=lambda operation: operation.payment_id)

    def touch(self, operation: Operation) -> None:
        """Note that an operation changed."""
        if operation.key not in self.operations_new:
            self.operations_changed[operation.key] = operation

    def announce(self, case: Case, kind: type[PaymentEvent], **fields: Any) -> None:
        """The payment's next fact."""
        payment = case.payment
        payment.sequence += 1
        case.changed = True
        self.events.append(
            kind(
                sequence=payment.sequence,
                order_id=payment.order_id,
                payment_id=payment.payment_id,
                **fields,
            )
        )

    def reconcile(self, case: Case, operation: Operation, what: ReconciledCase) -> None:
        """Note that something a process left is settled, or taken up again."""
        order_id = case.payment.order_id
        self.reconciled.append(Reconciled(case=what, id=operation.key, order_id=order_id))

    def post(self, payment: Payment, kind: str, debit: str, credit: str, amount_minor: int) -> None:
        """One posting; nothing is posted for nothing."""
        if amount_minor > 0:
            self.postings.append(
                Posting(
                    payment.payment_id,
                    payment.order_id,
                    kind,
                    debit,
                    credit,
                    amount_minor,
                    payment.currency,
                )
            )
