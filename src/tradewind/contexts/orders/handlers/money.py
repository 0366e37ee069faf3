"""What follows from money that moved: invoices, credit notes, returns that are paid back."""

from collections.abc import Sequence
from datetime import date

from tradewind.contexts.orders.handlers.documents import issue, issued_already
from tradewind.contexts.orders.handlers.returns import load, save
from tradewind.contexts.orders.rules import Desk, Paid, Repaid, returns
from tradewind.contexts.orders.rules.documents import Draft, number_of, tax_in, tax_share
from tradewind.contexts.orders.rules.taking_back import Returns, open_returns
from tradewind.contexts.orders.tables import OrderWithLines, ReturnRow
from tradewind.kernel.messages import Event
from tradewind.platform.database.transaction import Transaction


async def follow_money(tx: Transaction, desk: Desk) -> Sequence[Event]:
    """Issue what is due for the money that the desk heard of; the documents' events.

    News that is heard again changes nothing: a payment is captured once, and a refund that has its
    credit note is passed over.
    """
    drafts = [invoice(desk, item) for item in desk.paid]
    found = open_returns()
    back = [item for item in desk.repaid if item.amount_minor > 0 and item.order_id in desk.rows]
    if back or desk.not_repaid:
        looked_for = [item.order_id for item in back]
        found = await load(tx, looked_for + [item.order_id for item in desk.not_repaid])
        known = await issued_already(tx, [item.refund_id for item in back])
        back = [item for item in back if item.refund_id not in known]
        drafts += [credit_note(desk, found, item) for item in back]
    numbers: dict[str, str] = {}
    events: Sequence[Event] = ()
    if drafts:
        numbered = await issue(tx, drafts)
        events = numbered.events
        numbers = {r.source: number_of(r.series, r.year, r.serial) for r in numbered.rows}
    for item in back:
        row = returns.find_by_refund(found, item.refund_id)
        if row is not None:
            returns.refunded(desk, found, row, item.amount_minor, numbers[item.refund_id])
    for refusal in desk.not_repaid:
        row = returns.find_by_refund(found, refusal.refund_id)
        if row is not None:
            returns.not_refunded(desk, found, row, refusal.reason)
    save(tx, found)
    return events


def invoice(desk: Desk, item: Paid) -> Draft:
    """The receipt for money that was taken."""
    order = desk.rows[item.order_id]
    assert isinstance(order, OrderWithLines), "the desk is opened with baskets"
    return Draft(
        kind="invoice",
        source=order.order_id,
        order_id=order.order_id,
        customer=order.customer,
        country=order.country,
        currency=order.currency,
        total_minor=item.amount_minor,
        tax_minor=tax_in(item.amount_minor, order.tax_rate_bp),
        tax_rate_bp=order.tax_rate_bp,
        dated=dated(desk, order),
    )


def credit_note(desk: Desk, found: Returns, item: Repaid) -> Draft:
    """The receipt for money that went back."""
    order = desk.rows[item.order_id]
    assert isinstance(order, OrderWithLines), "the desk is opened with baskets"
    row = returns.find_by_refund(found, item.refund_id)
    before_minor = item.refunded_minor - item.amount_minor
    reason = item.reason or ("order cancelled" if order.status == "cancelled" else "refund")
    return Draft(
        kind="credit_note",
        source=item.refund_id,
        order_id=order.order_id,
        customer=order.customer,
        country=order.country,
        currency=order.currency,
        total_minor=item.amount_minor,
        tax_minor=tax_share(before_minor, item.amount_minor, order.tax_rate_bp),
        tax_rate_bp=order.tax_rate_bp,
        dated=dated(desk, order) if row is None else max(dated(desk, order), dated_return(row)),
        reason=reason if row is None else row.reason,
        return_id=None if row is None else row.return_id,
    )


def dated(desk: Desk, order: OrderWithLines) -> date:
    """The day of a document: today, of history the day of the order."""
    return (order.placed_at if order.imported else desk.now).date()


def dated_return(row: ReturnRow) -> date:
    """The day on which a return was asked for, which history may say."""
    return row.requested_at.date()
