"""Returns: what left the house may come back, once; what came back is paid back, once.

Invariants, also constraints of orders.returnable: of a line at most what was sent is promised to
come back, at most that arrives, and all refunds for it together are at most what it cost. A line's
refund is its share of what was paid, reckoned over all that has arrived so far, so that the parts
of a line always add up to the whole of it, to the penny.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import (
    ApproveReturn,
    Arrival,
    ArrivedLine,
    FulfilOrder,
    ReceiveReturn,
    RejectReturn,
    RequestReturn,
    ReturnCommand,
)
from tradewind.contexts.orders.events import (
    OrderFulfilled,
    ReceivedLine,
    ReturnApproved,
    ReturnedLine,
    ReturnNotRefunded,
    ReturnReceived,
    ReturnRefunded,
    ReturnRejected,
    ReturnRequested,
)
from tradewind.contexts.orders.rules.deciding import Desk
from tradewind.contexts.orders.tables import (
    FulfilmentRow,
    OrderRow,
    ReturnableRow,
    ReturnLineRow,
    ReturnRow,
    return_view,
)
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.money import divide_half_even, format_minor
from tradewind.kernel.problems import FieldError, Problem

FEES = 0  # the line under which the fees of an order are kept
PAID = frozenset({"captured", "partially_refunded"})
OUT = frozenset({"fulfilled", "partly_returned"})


class Returns(Struct):
    """The returns of the orders on a desk, and what a batch changes in them."""

    rows: dict[str, ReturnRow]
    lines: dict[str, list[ReturnLineRow]]
    returnable: dict[tuple[str, int], ReturnableRow]
    external_ids: set[tuple[str | None, str]]
    new: dict[str, ReturnRow]
    changed: dict[str, str]  # return -> the status it was read in
    touched: dict[tuple[str, int], ReturnableRow]
    fulfilled: dict[str, FulfilmentRow]
    by: dict[str, str]  # order -> who sent it out


def open_returns(
    rows: Iterable[ReturnRow] = (),
    lines: Iterable[ReturnLineRow] = (),
    returnable: Iterable[ReturnableRow] = (),
    external_ids: Iterable[tuple[str | None, str]] = (),
) -> Returns:
    """What was read, nothing changed yet."""
    by_return: dict[str, list[ReturnLineRow]] = {}
    for line in lines:
        by_return.setdefault(line.return_id, []).append(line)
    return Returns(
        rows={row.return_id: row for row in rows},
        lines=by_return,
        returnable={(row.order_id, row.line): row for row in returnable},
        external_ids=set(external_ids),
        new={},
        changed={},
        touched={},
        fulfilled={},
        by={},
    )


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


def receive(
    desk: Desk, returns: Returns, order: OrderRow, row: ReturnRow, arrival: Arrival, *, awaited: str
) -> Problem | None:
    """The parcel was opened: units to the shelf or the bin, money on its way back."""
    lines = {line.line: line for line in returns.lines[row.return_id]}
    asked = {number: line.quantity for number, line in lines.items()}
    known = {number: held(returns, order, number) for number in asked}
    fees = fees_of(returns, order)
    refused = refuse_arrival(asked, arrival, known, fees, order)
    if refused is not None:
        return refused
    desk.touch(order)
    if row.return_id not in returns.new:
        note_changed(returns, row)
    here = {came.line: came for came in arrival.lines}
    for number, line in lines.items():
        came = here.get(number) or ArrivedLine(line=number, restock=0, write_off=0)
        units, left = came.restock + came.write_off, known[number]
        line.restock, line.write_off = came.restock, came.write_off
        line.refund_minor = refund_of(left, came)
        left.promised -= line.quantity - units  # what did not come may be asked for again
        left.arrived += units
        left.refunded_minor += line.refund_minor
    if arrival.fees_refund_minor:
        fees.refunded_minor += arrival.fees_refund_minor
        returns.returnable[order.order_id, FEES] = fees
        returns.touched[order.order_id, FEES] = fees
    row.fees_refund_minor = arrival.fees_refund_minor
    row.refund_minor = arrival.fees_refund_minor + sum(line.refund_minor for line in lines.values())
    row.status, row.refund_id, row.changed_at = "received", arrival.refund_id, desk.now
    row.awaited = awaited
    sent = sum(line.quantity for line in desk.lines[order.order_id])
    back = sum(r.arrived for (o, n), r in returns.returnable.items() if o == order.order_id and n)
    order.status = "returned" if back == sent else "partly_returned"
    announce_received(desk, order, row, list(lines.values()), arrival)
    if row.refund_minor == 0:
        row.status, row.awaited = "refunded", None
    return None


def announce_received(
    desk: Desk, order: OrderRow, row: ReturnRow, lines: Sequence[ReturnLineRow], arrival: Arrival
) -> None:
    """Tell inventory and payments."""
    desk.announce(
        order,
        ReturnReceived,
        return_id=row.return_id,
        lines=tuple(
            ReceivedLine(
                line=line.line,
                sku=line.sku,
                restock=line.restock,
                write_off=line.write_off,
                refund_minor=line.refund_minor,
            )
            for line in lines
            if line.restock or line.write_off
        ),
        fees_refund_minor=row.fees_refund_minor,
        refund_minor=row.refund_minor,
        currency=order.currency,
        refund_id=arrival.refund_id,
        payment_id=order.payment_id,
        location=arrival.location,
    )


def refuse_arrival(
    asked: Mapping[int, int],
    arrival: Arrival,
    known: Mapping[int, ReturnableRow],
    fees: ReturnableRow,
    order: OrderRow,
) -> Problem | None:
    """Why this cannot have come, or may not be paid, if so."""
    errors: list[FieldError] = []
    seen: set[int] = set()
    for index, came in enumerate(arrival.lines):
        if came.line not in asked or came.line in seen:
            errors.append(FieldError(f"/lines/{index}/line", "is no line of this return, or twice"))
        elif came.restock + came.write_off > asked[came.line]:
            message = f"of {asked[came.line]} announced units at most"
            errors.append(FieldError(f"/lines/{index}/restock", message))
        seen.add(came.line)
    if not errors and not any(came.restock + came.write_off for came in arrival.lines):
        errors.append(FieldError("/lines", "nothing came: reject the return instead"))
    if errors:
        return problems.InvalidReturn("Correct these lines.", errors=tuple(errors))
    for index, came in enumerate(arrival.lines):
        left_minor = known[came.line].total_minor - known[came.line].refunded_minor
        if came.refund_minor is not None and came.refund_minor > left_minor:
            return exceeds(f"/lines/{index}/refund", left_minor, order.currency)
    left_minor = fees.total_minor - fees.refunded_minor
    if arrival.fees_refund_minor > left_minor:
        return exceeds("/fees_refund", left_minor, order.currency)
    return None


def exceeds(pointer: str, left_minor: int, currency: str) -> Problem:
    """More than is left."""
    left = format_minor(left_minor, currency)
    return problems.RefundExceedsLine(
        f"At most {left} {currency} are left of it.",
        errors=(FieldError(pointer, f"at most {left}"),),
        left={"amount": left, "currency": currency},
    )


def refund_of(left: ReturnableRow, came: ArrivedLine) -> int:
    """What the customer gets for what came of a line: what was said, or its share."""
    if came.refund_minor is not None:
        return came.refund_minor
    units = came.restock + came.write_off
    if units == 0:
        return 0
    after = divide_half_even(left.total_minor * (left.arrived + units), left.units)
    before = divide_half_even(left.total_minor * left.arrived, left.units)
    return min(after - before, left.total_minor - left.refunded_minor)


def held(returns: Returns, order: OrderRow, number: int, line: Any = None) -> ReturnableRow:
    """What of a line may come back, to be changed."""
    key = order.order_id, number
    row = known_or_new(returns, order, number, line)
    returns.returnable[key] = returns.touched[key] = row
    return row


def known_or_new(returns: Returns, order: OrderRow, number: int, line: Any) -> ReturnableRow:
    """The same, to be looked at."""
    known = returns.returnable.get((order.order_id, number))
    if known is not None:
        return known
    assert line is not None, "a line that was promised has a row"
    return ReturnableRow(
        order_id=order.order_id, line=number, units=line.quantity, total_minor=line.total_minor
    )


def fees_of(returns: Returns, order: OrderRow) -> ReturnableRow:
    """What of the fees and the shipping of an order may be given back."""
    return returns.returnable.get((order.order_id, FEES)) or ReturnableRow(
        order_id=order.order_id,
        line=FEES,
        units=0,
        total_minor=order.fees_minor + order.shipping_minor,
    )


def note_changed(returns: Returns, row: ReturnRow) -> None:
    """Remember in which state a return was read."""
    returns.changed.setdefault(row.return_id, row.status)


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
