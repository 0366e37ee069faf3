"""What orders knows of a person, in tokens: for an export, and before an erasure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradewind.contexts.orders.queries import (
    ISSUED_COLUMNS,
    RETURNS_OF_ORDER,
    SELECT,
    FoundReturn,
    with_lines,
)
from tradewind.contexts.orders.tables import (
    FulfilmentRow,
    IssuedRow,
    OrderRow,
    OrderWithLines,
    document_view,
    view,
)
from tradewind.contexts.orders.tables.carts import CART_ROW, CartRow
from tradewind.kernel.subject import OpenMatter, Subject
from tradewind.platform.database.transaction import Snapshot

# Served by the primary key.
PERSON_OF_ORDER = "SELECT customer FROM orders.orders WHERE order_id = $1"


async def person_of_order(db: Snapshot, order_id: str) -> str | None:
    """The record of an order's customer."""
    person: str | None = await db.fetch_value(PERSON_OF_ORDER, order_id)
    return person


# Served by orders_by_customer and orders_by_account.
ORDERS_OF_PERSONS = f"""{SELECT}
     WHERE o.customer = ANY($1::text[]) OR o.account = ANY($2::text[]) ORDER BY o.order_id
"""


async def belongings(db: Snapshot, subject: Subject) -> Subject:
    """The subject with its orders, their payments, and whom they name."""
    rows = await orders_of(db, subject)
    persons = dict.fromkeys((*subject.persons, *(row.customer for row in rows)))
    return msgspec.structs.replace(
        subject,
        persons=tuple(persons),
        orders=tuple(row.order_id for row in rows),
        payments=tuple(row.payment_id for row in rows),
    )


async def orders_of(db: Snapshot, subject: Subject) -> list[OrderWithLines]:
    """The orders of a subject, oldest first."""
    persons, accounts = list(subject.persons), list(subject.accounts)
    return await db.fetch(ORDERS_OF_PERSONS, persons, accounts, into=OrderWithLines)


# Served by the primary key.
FULFILMENTS = """
    SELECT order_id, carrier, tracking, fulfilled_at FROM orders.fulfilments
     WHERE order_id = ANY($1::text[]) ORDER BY order_id
"""
# Served by returns_by_order.
RETURNS = RETURNS_OF_ORDER.replace("r.order_id = $1", "r.order_id = ANY($1::text[])")
# Served by documents_source, credit_notes_by_order and documents_alone.
DOCUMENTS = f"""
    SELECT {ISSUED_COLUMNS} FROM orders.documents d WHERE d.source = ANY($1::text[])
    UNION ALL
    SELECT {ISSUED_COLUMNS} FROM orders.documents d
     WHERE d.order_id = ANY($1::text[]) AND d.kind = 'credit_note'
    UNION ALL
    SELECT {ISSUED_COLUMNS} FROM orders.documents d
     WHERE d.order_id IS NULL AND d.customer = ANY($2::text[])
"""
# Served by carts_by_person.
CARTS = f"""
    SELECT {CART_ROW} FROM orders.carts c LEFT JOIN orders.orders o USING (order_id)
     WHERE c.person = ANY($1::text[]) ORDER BY c.cart_id
"""


async def export(db: Snapshot, subject: Subject) -> Mapping[str, Sequence[Any]]:
    """Everything that orders holds of the subject; the vault's tokens stand where they stand."""
    orders, persons = list(subject.orders), list(subject.persons)
    rows = await orders_of(db, subject)
    shown: list[Any] = []
    for row in rows:
        order = msgspec.to_builtins(view(row, row.lines()))
        del order["email"], order["shipping_address"]  # they stand in the record
        shown.append({**order, "person": row.customer, "country": row.country})
    returns = await db.fetch(RETURNS, orders, into=FoundReturn)
    documents = await db.fetch(DOCUMENTS, orders, persons, into=IssuedRow)
    return {
        "orders": shown,
        "fulfilments": await db.fetch(FULFILMENTS, orders, into=FulfilmentRow),
        "returns": await with_lines(db, returns),
        "documents": [document_view(row, row.issued_at) for row in documents],
        "carts": await db.fetch(CARTS, persons, into=CartRow),
    }


# What the provider or a reviewer has not decided, and what has not come to its payment yet.
UNDECIDED = frozenset({"placed", "held"})
UNPAID = frozenset({"pending", "authorised", "unknown"})
# Served by returns_by_order.
OPEN_RETURNS = """
    SELECT return_id, status FROM orders.returns
     WHERE order_id = ANY($1::text[]) AND status IN ('requested', 'approved', 'received')
     ORDER BY return_id
"""


class OpenReturn(msgspec.Struct, frozen=True):
    """A return that has not come to its end."""

    return_id: str
    status: str


async def open_matters(db: Snapshot, subject: Subject) -> list[OpenMatter]:
    """Orders that are not decided or not paid, and returns under way.

    An order that is paid and not yet sent is none: its invoice has name and address, and is kept.
    """
    rows = await orders_of(db, subject)
    found = [
        OpenMatter("order", row.order_id, row.status, passing=row.status != "held")
        for row in rows
        if row.status in UNDECIDED or (row.status == "confirmed" and is_unpaid(row))
    ]
    for each in await db.fetch(OPEN_RETURNS, list(subject.orders), into=OpenReturn):
        found.append(
            OpenMatter("return", each.return_id, each.status, passing=each.status == "received")
        )
    return found


def is_unpaid(row: OrderRow) -> bool:
    """Whether its money has not come yet."""
    return row.payment_status in UNPAID


# Served by documents_source and documents_alone. A credit note of an order has its invoice.
ON_PAPERS = """
    SELECT customer FROM orders.documents WHERE source = ANY($1::text[])
    UNION SELECT customer FROM orders.documents
           WHERE order_id IS NULL AND customer = ANY($2::text[])
"""


async def on_papers(db: Snapshot, subject: Subject) -> list[str]:
    """Whose records stand on invoices or credit notes."""
    found: list[str] = await db.fetch_values(ON_PAPERS, list(subject.orders), list(subject.persons))
    return found
