"""Returns: what left the house may come back, once; what came back is paid back, once.

Invariants, also constraints of orders.returnable: of a line at most what was sent is promised to
come back, at most that arrives, and all refunds for it together are at most what it cost. A line's
refund is its share of what was paid, reckoned over all that has arrived so far, so that the parts
of a line always add up to the whole of it, to the penny.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import (
    ApproveReturn,
    ExchangeReturn,
    FulfilOrder,
    ReceiveReturn,
    RejectReturn,
    RequestReturn,
    ReturnCommand,
)
from tradewind.contexts.orders.events import (
    OrderFulfilled,
    ReturnApproved,
    ReturnedLine,
    ReturnExchanged,
    ReturnNotRefunded,
    ReturnRefunded,
    ReturnRejected,
    ReturnRequested,
)
from tradewind.contexts.orders.rules.arriving import receive, refuse_arrival
from tradewind.contexts.orders.rules.deciding import Desk
from tradewind.contexts.orders.rules.taking_back import (
    Returns,
    fees_of,
    held,
    known_or_new,
    note_changed,
)
from tradewind.contexts.orders.tables import (
    FulfilmentRow,
    OrderRow,
    ReturnLineRow,
    ReturnRow,
    return_view,
)
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.problems import FieldError, Problem

# An order is placed right after its return knows of it; a batch never takes so long.
LOST_AFTER = timedelta(minutes=1)
PAID = frozenset({"captured", "partially_refunded"})
OUT = frozenset({"fulfilled", "partly_returned"})


def fulfil(desk: Desk, returns: Returns, command: FulfilOrder) -> Problem | None:
    """Everything of the order leaves the house."""
    row = desk.rows.get(command.order_id)
    if row is None:
        return problems.OrderNotFound()
    if row.status != "confirmed" or row.payment_status not in PAID:
        return problems.OrderNotFulfillable(
            f"The order is {row.status}, its payment {row.payment_status}.",
            order_id=row.order_id,
            order_status=row.status,
            payment_status=row.payment_status,
        )
    desk.touch(row)
    row.status = "fulfilled"
    at = command.at or desk.now
    desk.announce(
        row,
        OrderFulfilled,
        skus=desk.skus(row.order_id),
        carrier=command.carrier,
        tracking=command.tracking,
        fulfilled_at=at,
    )
    returns.fulfilled[row.order_id] = FulfilmentRow(
        row.order_id, command.carrier, command.tracking, at
    )
    returns.by[row.order_id] = command.by
    return None


def decide(desk: Desk, returns: Returns, command: ReturnCommand) -> Answer | Pending | Problem:
    """One step of a return."""
    order = desk.rows.get(command.order_id)
    if isinstance(command, RequestReturn):
        if order is None:
            return problems.OrderNotFound()
        return request(desk, returns, order, command)
    row = returns.rows.get(command.return_id)
    if row is None or order is None:
        return problems.ReturnNotFound()
    if isinstance(command, ReceiveReturn):
        if row.status != "approved":
            return not_open(row)
        resource = f"{row.return_id}.receive"
        refused = receive(desk, returns, order, row, command.arrival, awaited=resource)
        return refused or outcome(returns, order, row, resource, status=200)
    allowed = ("requested",) if isinstance(command, ApproveReturn) else ("requested", "approved")
    if row.status not in allowed:
        return not_open(row)
    note_changed(returns, row)
    row.changed_at = desk.now
    desk.touch(order)
    if isinstance(command, RejectReturn):
        row.status, row.note = "rejected", command.reason
        for line in returns.lines[row.return_id]:
            held(returns, order, line.line).promised -= line.quantity
        desk.announce(order, ReturnRejected, return_id=row.return_id, reason=command.reason)
    else:
        row.status = "approved"
        desk.announce(order, ReturnApproved, return_id=row.return_id)
    return Answer(body=shown(returns, order, row))


def exchange(
    desk: Desk, returns: Returns, command: ExchangeReturn, there: Mapping[str, str]
) -> str | Problem:
    """Let another order stand for a return; `there` says how the orders of earlier tries stand.

    A repeat gets the order of the first try. One that was refused, or that has been lost on its
    way for `LOST_AFTER`, makes room for the next.
    """
    order, row = desk.rows.get(command.order_id), returns.rows.get(command.return_id)
    if order is None or row is None:
        return problems.ReturnNotFound()
    if row.status in ("requested", "rejected"):
        return not_open(row)
    before, same = row.exchange_order_id, row.exchange_asked_as == command.asked_as
    if command.given_up:
        if before is not None and same and before not in there:
            note_changed(returns, row)
            desk.touch(order)
            row.exchange_order_id, row.exchange_asked_as = None, None
            row.changed_at = desk.now
        return ""
    if before is not None:
        if same:
            return before
        lost = before not in there and desk.now - row.changed_at > LOST_AFTER
        if not lost and there.get(before) not in ("rejected", "cancelled"):
            return problems.ReturnExchanged(
                f"{before} goes out in its place.",
                return_id=row.return_id,
                exchange_order_id=before,
            )
    note_changed(returns, row)
    desk.touch(order)
    row.exchange_order_id, row.changed_at = command.exchange_order_id, desk.now
    row.exchange_asked_as = command.asked_as
    desk.announce(
        order,
        ReturnExchanged,
        return_id=row.return_id,
        exchange_order_id=command.exchange_order_id,
    )
    return command.exchange_order_id


def not_open(row: ReturnRow) -> Problem:
    """A step that does not follow."""
    return problems.ReturnNotOpen(
        f"The return is {row.status}.", return_id=row.return_id, return_status=row.status
    )


def request(
    desk: Desk, returns: Returns, order: OrderRow, command: RequestReturn
) -> Answer | Pending | Problem:
    """Ask to give units back; staff may have them in hand already."""
    refused = refuse_request(desk, returns, order, command)
    if refused is not None:
        return refused
    row = ReturnRow(
        return_id=command.return_id,
        order_id=order.order_id,
        status="requested",
        reason=command.reason,
        requested_by=command.by,
        credential=command.credential,
        external_id=command.external_id,
        refund_minor=0,
        fees_refund_minor=0,
        refund_id=None,
        exchange_order_id=None,
        exchange_asked_as=None,
        awaited=None,
        note=None,
        requested_at=command.at or desk.now,
        changed_at=desk.now,
    )
    lines = desk.lines[order.order_id]
    wanted = [
        ReturnLineRow(
            return_id=row.return_id,
            line=w.line,
            sku=lines[w.line - 1].sku,
            quantity=w.quantity,
            reason=w.reason,
        )
        for w in command.lines
    ]
    before = [held(returns, order, line.line, lines[line.line - 1]) for line in wanted]
    returns.rows[row.return_id] = returns.new[row.return_id] = row
    returns.lines[row.return_id] = wanted
    desk.touch(order)
    for line, left in zip(wanted, before, strict=True):
        left.promised += line.quantity
    desk.announce(
        order,
        ReturnRequested,
        return_id=row.return_id,
        lines=tuple(
            ReturnedLine(line=w.line, sku=w.sku, quantity=w.quantity, reason=w.reason)
            for w in wanted
        ),
        reason=command.reason,
    )
    if command.external_id is not None:
        returns.external_ids.add((command.credential, command.external_id))
    if command.arrival is None:
        return Answer(
            status=201,
            body=shown(returns, order, row),
            headers={"location": f"/v1/returns/{row.return_id}"},
        )
    row.status = "approved"
    desk.announce(order, ReturnApproved, return_id=row.return_id)
    arrived = receive(desk, returns, order, row, command.arrival, awaited=row.return_id)
    assert arrived is None, "what arrives with the request was looked at before"
    return outcome(returns, order, row, row.return_id, status=201)


def refuse_request(
    desk: Desk, returns: Returns, order: OrderRow, command: RequestReturn
) -> Problem | None:
    """Why these units may not come back, if so."""
    if order.status not in OUT:
        return problems.OrderNotReturnable(
            f"The order is {order.status}.", order_id=order.order_id, order_status=order.status
        )
    if (command.credential, command.external_id) in returns.external_ids:
        return problems.ExternalIdTaken(
            f"You have opened a return with external_id {command.external_id!r} before.",
            external_id=command.external_id,
        )
    lines = desk.lines[order.order_id]
    errors: list[FieldError] = []
    seen: set[int] = set()
    for index, wanted in enumerate(command.lines):
        if wanted.line > len(lines):
            message = f"the order has {len(lines)} lines"
            errors.append(FieldError(f"/lines/{index}/line", message))
        elif wanted.line in seen:
            errors.append(FieldError(f"/lines/{index}/line", "stands here twice"))
        seen.add(wanted.line)
    if errors:
        return problems.InvalidReturn("Correct these lines.", errors=tuple(errors))
    for index, wanted in enumerate(command.lines):
        line = lines[wanted.line - 1]
        promised = known_or_new(returns, order, wanted.line, line).promised
        left = line.quantity - promised
        if wanted.quantity > left:
            return problems.ReturnExceedsOrder(
                f"Of line {wanted.line} ({line.sku}) {left} units are left.",
                errors=(FieldError(f"/lines/{index}/quantity", f"at most {left}"),),
                line=wanted.line,
                left=left,
            )
    if command.arrival is not None:
        asked = {wanted.line: wanted.quantity for wanted in command.lines}
        known = {n: known_or_new(returns, order, n, lines[n - 1]) for n in asked}
        return refuse_arrival(asked, command.arrival, known, fees_of(returns, order), order)
    return None


def outcome(
    returns: Returns, order: OrderRow, row: ReturnRow, resource: str, *, status: int
) -> Answer | Pending:
    """The answer to a receipt: when the money is back, or at once where none is owed."""
    if row.status == "received":
        return Pending(resource)
    return Answer(status=status, body=shown(returns, order, row), headers=location(row))


def location(row: ReturnRow) -> dict[str, str]:
    """Where a return is read."""
    return {"location": f"/v1/returns/{row.return_id}"}


def shown(returns: Returns, order: OrderRow, row: ReturnRow, credit_note: str | None = None) -> Any:
    """A return as it goes on the wire."""
    return return_view(row, returns.lines[row.return_id], order.currency, credit_note)


def find_by_refund(returns: Returns, refund_id: str) -> ReturnRow | None:
    """The return that waits for this refund, if one does."""
    for row in returns.rows.values():
        if row.refund_id == refund_id and row.status == "received":
            return row
    return None


def refunded(
    desk: Desk, returns: Returns, row: ReturnRow, amount_minor: int, credit_note: str | None
) -> None:
    """The money is back with the customer."""
    order = desk.rows[row.order_id]
    settle(desk, returns, order, row, "refunded")
    desk.announce(
        order,
        ReturnRefunded,
        return_id=row.return_id,
        refund_id=row.refund_id,
        amount_minor=amount_minor,
        currency=order.currency,
    )
    if row.awaited is not None:
        desk.ruling.answers[row.awaited] = Answer(
            status=201 if row.awaited == row.return_id else 200,
            body=shown(returns, order, row, credit_note),
            headers=location(row),
        )


def not_refunded(desk: Desk, returns: Returns, row: ReturnRow, reason: str) -> None:
    """The provider will not give it back."""
    order = desk.rows[row.order_id]
    settle(desk, returns, order, row, "refund_refused")
    row.note = reason
    desk.announce(
        order, ReturnNotRefunded, return_id=row.return_id, refund_id=row.refund_id, reason=reason
    )
    if row.awaited is not None:
        desk.ruling.answers[row.awaited] = problems.ReturnRefundRefused(
            f"The provider says: {reason}.", return_id=row.return_id, order_id=row.order_id
        )


def settle(desk: Desk, returns: Returns, order: OrderRow, row: ReturnRow, status: str) -> None:
    """The last step of a return."""
    note_changed(returns, row)
    desk.touch(order)
    row.status, row.changed_at = status, desk.now
