"""A parcel was opened: units to the shelf or the bin, money on its way back."""

from collections.abc import Mapping, Sequence

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import Arrival, ArrivedLine
from tradewind.contexts.orders.events import ReceivedLine, ReturnReceived
from tradewind.contexts.orders.rules.deciding import Desk
from tradewind.contexts.orders.rules.taking_back import FEES, Returns, fees_of, held, note_changed
from tradewind.contexts.orders.tables import OrderRow, ReturnableRow, ReturnLineRow, ReturnRow
from tradewind.kernel.money import divide_half_even, format_minor
from tradewind.kernel.problems import FieldError, Problem


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
        elif came.refund_minor and not came.restock + came.write_off:
            message = "is for units that came: none of this line did"
            errors.append(FieldError(f"/lines/{index}/refund", message))
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
