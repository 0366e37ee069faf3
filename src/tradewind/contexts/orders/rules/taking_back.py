"""The returns of a batch of orders: what was read, and what changes in it."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from tradewind.contexts.orders.tables import (
    FulfilmentRow,
    OrderRow,
    ReturnableRow,
    ReturnLineRow,
    ReturnRow,
)

FEES = 0  # the line under which the fees of an order are kept


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
