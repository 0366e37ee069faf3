"""HTTP: payments, refunds, the ledger, and the simulated provider's own record."""

from collections.abc import Awaitable, Callable

from tradewind.contexts.payments import queries
from tradewind.contexts.payments.commands import RefundPayment
from tradewind.contexts.payments.problems import (
    CurrencyMismatch,
    InvalidAmount,
    NothingCaptured,
    PaymentNotFound,
    ProviderRefusedRefund,
    ProviderUnavailable,
    RefundExceedsCapture,
    RefundNotFound,
)
from tradewind.contexts.payments.tables import (
    BalanceList,
    BalanceView,
    ChargeList,
    ChargesQuery,
    PageQuery,
    PaymentView,
    PostingList,
    PostingView,
    RefundList,
    RefundRequest,
    RefundRow,
    RefundView,
)
from tradewind.kernel.answers import Answer, Pending, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.money import AMOUNT_MINOR_MAX, Amount, format_minor, parse_minor, wire
from tradewind.kernel.problems import FieldError
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, Scope, Whose
from tradewind.platform.node import Node

AFTER_EVERY_REFUND = "ref_~"  # sorts behind every refund id in "C" order
AFTER_EVERY_POSTING = 2**63 - 1


async def get_payment(request: Request) -> Answer:
    """One payment: what was agreed, captured and refunded.

    `unknown` means that the provider did not answer and is being asked what it did.
    """
    async with request.reading() as snapshot:
        row = await queries.payment(snapshot, request.params["payment_id"])
    if row is None:
        raise PaymentNotFound("Look at the order for the id of its payment.")
    return Answer(
        body=PaymentView(
            id=row.payment_id,
            order_id=row.order_id,
            status=row.status,
            amount=wire(row.amount_minor, row.currency),
            captured=wire(row.captured_minor, row.currency),
            refunded=wire(row.refunded_minor, row.currency),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
    )


async def post_refund(request: Request) -> Answer | Settled:
    """Give captured money back, all of it or a part, as often as there is some left.

    201 when the provider has done it. 202 with a Location when it does not answer in time: the
    refund is then under way and cannot be lost. A refund does not return stock.
    """
    payment_id = request.params["payment_id"]
    body: RefundRequest = request.body
    async with request.reading() as snapshot:
        row = await queries.payment(snapshot, payment_id)
    order_id = None if row is None else row.order_id
    outcome = await request.submit(
        RefundPayment(
            idempotency=request.idempotency,
            payment_id=payment_id,
            refund_id=new_id("ref"),
            amount_minor=amount_minor_of(body.amount),
            currency=body.amount.currency,
            reason=await request.sealed(body.reason, order_id=order_id),
        )
    )
    if not isinstance(outcome, Pending):
        settled: Settled = outcome
        return settled
    wait_s = request.prefer_wait_s
    node = request.node
    answer = await node.answers.wait(
        outcome.resource, node.settings.wait_default_s if wait_s is None else wait_s
    )
    if answer is not None:
        return answer
    async with request.reading() as snapshot:
        refund = await queries.refund(snapshot, outcome.resource)
    assert refund is not None, "a refund in hand has a row"
    location = f"/v1/payments/{payment_id}/refunds/{refund.refund_id}"
    return Answer(status=202, body=view_of(refund), headers={"Location": location})


def amount_minor_of(amount: Amount) -> int:
    """A wire amount above zero in minor units. Raises `InvalidAmount`."""
    minor = parse_minor(amount.amount, amount.currency)
    if minor is None or not 0 < minor <= AMOUNT_MINOR_MAX:
        message = "must be a decimal above zero, no finer than the currency's minor unit"
        raise InvalidAmount(
            f"The amount {message}.", errors=(FieldError("/amount/amount", message),)
        )
    return minor


async def get_refunds(request: Request) -> Answer:
    """The refunds of a payment, newest first: asked for, or following a cancelled order."""
    query: PageQuery = request.query
    payment_id = request.params["payment_id"]
    before = AFTER_EVERY_REFUND
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, str)
    async with request.reading() as snapshot:
        if await queries.payment(snapshot, payment_id) is None:
            raise PaymentNotFound("Look at the order for the id of its payment.")
        rows = await queries.refunds(snapshot, payment_id, before=before, count_max=query.limit + 1)
    page = rows[: query.limit]
    more = len(rows) > query.limit
    return Answer(
        body=RefundList(
            items=[view_of(row) for row in page],
            next=encode_cursor(page[-1].refund_id) if more else None,
        )
    )


async def get_refund(request: Request) -> Answer:
    """One refund of a payment."""
    async with request.reading() as snapshot:
        row = await queries.refund(snapshot, request.params["refund_id"])
    if row is None or row.payment_id != request.params["payment_id"]:
        raise RefundNotFound("Look at the list of the payment's refunds.")
    return Answer(body=view_of(row))


def view_of(row: RefundRow) -> RefundView:
    """A refund on the wire."""
    return RefundView(
        id=row.refund_id,
        payment_id=row.payment_id,
        amount=wire(row.amount_minor, row.currency),
        status=row.status,
        reason=row.reason,
        created_at=row.created_at,
    )


async def get_balance(request: Request) -> Answer:
    """Every account of the ledger. Per currency, all debits equal all credits."""
    async with request.reading() as snapshot:
        rows = await queries.balance(snapshot)
    return Answer(
        body=BalanceList(
            items=[
                BalanceView(
                    account=row.account,
                    currency=row.currency,
                    debit=format_minor(row.debit_minor, row.currency),
                    credit=format_minor(row.credit_minor, row.currency),
                )
                for row in rows
            ]
        )
    )


async def get_entries(request: Request) -> Answer:
    """The postings of the ledger, newest first. Each moves one amount from credit to debit."""
    query: PageQuery = request.query
    before = AFTER_EVERY_POSTING
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, int)
    async with request.reading() as snapshot:
        rows = await queries.postings(snapshot, before=before, count_max=query.limit + 1)
    page = rows[: query.limit]
    items = [
        PostingView(
            number=row.number,
            at=row.at,
            kind=row.kind,
            debit=row.debit,
            credit=row.credit,
            amount=wire(row.amount_minor, row.currency),
            payment_id=row.payment_id,
            order_id=row.order_id,
        )
        for row in page
    ]
    more = len(rows) > query.limit
    return Answer(
        body=PostingList(items=items, next=encode_cursor(page[-1].number) if more else None)
    )


def charges_from(
    read_charges: Callable[[Node, str], Awaitable[ChargeList]],
) -> Callable[[Request], Awaitable[Answer]]:
    """The handler that shows the provider's record, read through `read_charges`."""

    async def get_charges(request: Request) -> Answer:
        """What the simulated provider itself recorded for an order, oldest first."""
        query: ChargesQuery = request.query
        return Answer(body=await read_charges(request.node, query.order_id))

    return get_charges


READ = Scope("payments:read")
PAYMENT = "/v1/payments/{payment_id}"

ROUTES = (
    Route(
        method="GET",
        path=PAYMENT,
        handler=get_payment,
        summary="Read a payment.",
        permission=READ,
        whose=Whose.SHOP,
        answers={200: PaymentView},
        problems=(PaymentNotFound,),
        tag="payments",
    ),
    Route(
        method="POST",
        path=f"{PAYMENT}/refunds",
        handler=post_refund,
        summary="Refund a payment, in whole or in part.",
        permission=Scope("payments:write"),
        whose=Whose.SHOP,
        body=RefundRequest,
        answers={201: RefundView, 202: RefundView},
        problems=(
            PaymentNotFound,
            InvalidAmount,
            CurrencyMismatch,
            NothingCaptured,
            RefundExceedsCapture,
            ProviderRefusedRefund,
        ),
        keyed=Keyed.REQUIRED,
        tag="payments",
    ),
    Route(
        method="GET",
        path=f"{PAYMENT}/refunds",
        handler=get_refunds,
        summary="List the refunds of a payment.",
        permission=READ,
        whose=Whose.SHOP,
        query=PageQuery,
        answers={200: RefundList},
        problems=(PaymentNotFound,),
        tag="payments",
    ),
    Route(
        method="GET",
        path=f"{PAYMENT}/refunds/{{refund_id}}",
        handler=get_refund,
        summary="Read a refund.",
        permission=READ,
        whose=Whose.SHOP,
        answers={200: RefundView},
        problems=(RefundNotFound,),
        tag="payments",
    ),
    Route(
        method="GET",
        path="/v1/ledger/balance",
        handler=get_balance,
        summary="Read the balance of every account.",
        permission=READ,
        whose=Whose.SHOP,
        answers={200: BalanceList},
        tag="ledger",
    ),
    Route(
        method="GET",
        path="/v1/ledger/entries",
        handler=get_entries,
        summary="List the postings of the ledger.",
        permission=READ,
        whose=Whose.SHOP,
        query=PageQuery,
        answers={200: PostingList},
        tag="ledger",
    ),
)


def charges_route(
    read_charges: Callable[[Node, str], Awaitable[ChargeList]],
) -> Route:
    """The route to the provider's record; `context.py` says who reads it."""
    return Route(
        method="GET",
        path="/v1/simulator/charges",
        handler=charges_from(read_charges),
        summary="Read the simulated provider's own record of an order.",
        permission=READ,
        whose=Whose.SHOP,
        query=ChargesQuery,
        answers={200: ChargeList},
        problems=(ProviderUnavailable,),
        tag="payments",
    )
