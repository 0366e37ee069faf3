"""Rows of payments as they are read, and the shapes its API answers with."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.contexts.payments.commands import OperationName
from tradewind.kernel.money import Amount

PaymentStatus = Literal[
    "pending",
    "authorised",
    "captured",
    "voided",
    "refunded",
    "partially_refunded",
    "declined",
    "failed",
]
ShownStatus = PaymentStatus | Literal["unknown"]
Wanted = Literal["authorised", "captured", "nothing"]
OperationStatus = Literal["requested", "unknown", "succeeded", "refused"]
RefundStatus = Literal["pending", "succeeded", "refused"]


class Payment(Struct, kw_only=True):
    """A row of payments.payments: the working state of a unit; `version` is that of the read."""

    payment_id: str
    order_id: str
    amount_minor: int
    currency: str
    token: str
    terms: str  # PaymentTerms as JSON
    status: PaymentStatus = "pending"
    wanted: Wanted = "authorised"
    captured_minor: int = 0
    refunded_minor: int = 0
    pending_refund_minor: int = 0
    halted: str | None = None
    sequence: int = 0
    version: int = 0


class Operation(Struct, kw_only=True):
    """What is asked of the provider: a row of payments.under_way, then of payments.operations."""

    key: str
    payment_id: str
    operation: OperationName
    refund_id: str | None
    amount_minor: int
    status: OperationStatus
    attempt: int
    claim: int
    claimed: bool
    due_at: datetime
    deadline_at: datetime | None
    requested_at: datetime
    reason: str | None = None


class Refund(Struct):
    """A row of payments.refunds. `asked`: somebody waits for it; otherwise it follows an end."""

    refund_id: str
    payment_id: str
    amount_minor: int
    reason: str
    status: RefundStatus
    asked: bool
    created_at: datetime


class Loaded(Struct, frozen=True):
    """A payment with the operation it has under way, as one row; None where it has none."""

    order_id: str
    ended: bool
    payment_id: str | None
    amount_minor: int
    currency: str
    token: str
    terms: str
    status: PaymentStatus
    wanted: Wanted
    captured_minor: int
    refunded_minor: int
    pending_refund_minor: int
    halted: str | None
    sequence: int
    version: int
    key: str | None
    operation: OperationName
    refund_id: str | None
    operation_amount_minor: int
    operation_status: OperationStatus
    attempt: int
    claim: int
    claimed: bool
    due_at: datetime
    deadline_at: datetime | None
    requested_at: datetime


class PaymentRow(Struct, frozen=True):
    """A payment as it is shown."""

    payment_id: str
    order_id: str
    status: ShownStatus
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    currency: str
    created_at: datetime
    updated_at: datetime


class RefundRow(Struct, frozen=True):
    """A refund as it is shown."""

    refund_id: str
    payment_id: str
    amount_minor: int
    currency: str
    status: RefundStatus
    reason: str
    created_at: datetime


class BalanceRow(Struct, frozen=True):
    """What one account of the ledger was debited and credited in all."""

    account: str
    currency: str
    debit_minor: int
    credit_minor: int


class PostingRow(Struct, frozen=True):
    """One posting: `amount_minor` from the account `credit` to the account `debit`."""

    number: int
    at: datetime
    payment_id: str
    order_id: str
    kind: str
    debit: str
    credit: str
    amount_minor: int
    currency: str


class RefundRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """How much to give back, and why."""

    amount: Amount
    reason: Annotated[str, Meta(min_length=1, max_length=500)] = "requested"


class PageQuery(Struct, frozen=True):
    """Which part of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None


class ChargesQuery(Struct, frozen=True):
    """Of which order."""

    order_id: Annotated[str, Meta(min_length=1, max_length=255)]


class PaymentView(Struct, frozen=True, kw_only=True):
    """A payment on the wire."""

    id: str
    order_id: str
    status: ShownStatus
    amount: Amount
    captured: Amount
    refunded: Amount
    created_at: datetime
    updated_at: datetime


class RefundView(Struct, frozen=True, kw_only=True):
    """A refund on the wire."""

    id: str
    payment_id: str
    amount: Amount
    status: RefundStatus
    reason: str | None  # None: the customer was erased
    created_at: datetime


class RefundList(Struct, frozen=True, kw_only=True):
    """Refunds of one payment, newest first."""

    items: list[RefundView]
    next: str | None


class ChargeView(Struct, frozen=True, kw_only=True):
    """An operation in the provider's own record."""

    key: str
    operation: OperationName
    amount: Amount
    at: str


class ChargeList(Struct, frozen=True, kw_only=True):
    """All that took effect at the provider for one order, oldest first."""

    items: list[ChargeView]
    next: str | None = None


class BalanceView(Struct, frozen=True, kw_only=True):
    """One account in one currency; decimal amounts."""

    account: str
    currency: str
    debit: str
    credit: str


class BalanceList(Struct, frozen=True, kw_only=True):
    """All accounts. Per currency, debits and credits are equal."""

    items: list[BalanceView]
    next: str | None = None


class PostingView(Struct, frozen=True, kw_only=True):
    """One posting on the wire."""

    number: int
    at: datetime
    kind: str
    debit: str
    credit: str
    amount: Amount
    payment_id: str
    order_id: str


class PostingList(Struct, frozen=True, kw_only=True):
    """Postings, newest first."""

    items: list[PostingView]
    next: str | None
