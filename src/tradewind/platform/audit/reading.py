"""The record as it is read: newest first, by filters; or all of it, in the order of the chain."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from tradewind.platform.audit.entries import Kind
from tradewind.platform.audit.masking import Mask
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.security.secrets import SecretsError

READ_AT_ONCE = 2_000
END = 2**62


class Filters(Struct, frozen=True, kw_only=True):
    """Which entries; None: whichever."""

    principal: str | None = None
    object: str | None = None
    operation: str | None = None
    notice: str | None = None
    kind: str | None = None
    address: str | None = None  # a token, or an address inside the house
    trace: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Row(Struct, frozen=True):
    """A sealed entry: the columns of the statements below."""

    position: int
    entry_id: str
    xid: int
    at: datetime
    kind: Kind
    operation: str
    notice: str
    principal: str
    object: str
    address: str
    trace: str
    reason: str
    before: str | None
    after: str | None
    digest: bytes


class Recorded(Struct, frozen=True, kw_only=True):
    """An entry as it is shown."""

    id: str
    position: int  # in the chain
    at: datetime
    kind: str
    operation: str
    notice: str | None
    principal: str | None
    object: str | None
    address: str | None
    trace_id: str | None
    reason: str | None  # None: none was given, or it cannot be opened any more
    before: Raw | None
    after: Raw | None
    digest: str


COLUMNS = """c.position, e.entry_id, e.xid::text::bigint, e.at, e.kind, e.operation, e.notice,
           e.principal, e.object, e.address, e.trace, e.reason, e.before, e.after, c.digest"""
# chain_pkey backwards; entries_by_principal or entries_by_object where one of them is asked for.
PAGE = """
    SELECT {columns}
      FROM audit.chain c JOIN audit.entries e USING (entry_id)
     WHERE c.position < $1{conditions}
     ORDER BY c.position DESC LIMIT $2
"""
ALL = f"""
    SELECT {COLUMNS}
      FROM audit.chain c JOIN audit.entries e USING (entry_id)
     WHERE c.position > $1 AND ($2::timestamptz IS NULL OR e.at >= $2)
       AND ($3::timestamptz IS NULL OR e.at < $3)
     ORDER BY c.position LIMIT $4
"""
CONDITIONS = {
    "principal": "e.principal = ${}::text",
    "object": "e.object = ${}::text",
    "operation": "e.operation = ${}::text",
    "notice": "e.notice = ${}::text",
    "kind": "e.kind = ${}::text",
    "address": "e.address = ${}::text",
    "trace": "e.trace = ${}::text",
    "since": "e.at >= ${}::timestamptz",
    "until": "e.at < ${}::timestamptz",
}


async def page(snapshot: Snapshot, filters: Filters, *, before: int, count_max: int) -> list[Row]:
    """Sealed entries before a place of the chain, newest first. A write is there in a second."""
    conditions, values = "", []
    for name, condition in CONDITIONS.items():
        value = getattr(filters, name)
        if value is not None:
            values.append(value)
            conditions += "\n       AND " + condition.format(len(values) + 2)
    sql = PAGE.format(columns=COLUMNS, conditions=conditions)
    return await snapshot.fetch(sql, before, count_max, *values, into=Row)


class Activity(Struct, frozen=True):
    """An entry as the person is told of it whom it is about: what was done and when, not by whom of
    the house.
    """

    at: datetime
    operation: str
    kind: Kind
    object: str
    by: Literal["you", "others"]


# Served by entries_by_object (an id alone, or with what is below it: "!" comes after the blank)
# and entries_by_principal. UNION: what somebody did to what is theirs is told once.
ABOUT = """
    WITH found AS (
        SELECT e.entry_id FROM unnest($1::text[]) AS own(id)
          JOIN audit.entries e ON e.object >= own.id AND e.object < own.id || '!'
        UNION
        SELECT e.entry_id FROM audit.entries e WHERE e.principal = ANY($1::text[])
    )
    SELECT e.at, e.operation, e.kind, e.object,
           CASE WHEN e.principal = ANY($1::text[]) THEN 'you' ELSE 'others' END
      FROM found JOIN audit.entries e USING (entry_id)
     ORDER BY e.entry_id
"""


async def about(snapshot: Snapshot, ids: Sequence[str]) -> list[Activity]:
    """What was done by and to the holders of these ids, oldest first."""
    return await snapshot.fetch(ABOUT, list(ids), into=Activity)


async def everything(
    connection: Connection, *, since: datetime | None, until: datetime | None
) -> AsyncIterator[Row]:
    """Every sealed entry of a time, in the order of the chain, some thousands at once."""
    after = 0
    while True:
        rows = [Row(*row) for row in await connection.fetch(ALL, after, since, until, READ_AT_ONCE)]
        for row in rows:
            yield row
        if len(rows) < READ_AT_ONCE:
            return
        after = rows[-1].position


def shown(row: Row, mask: Mask) -> Recorded:
    """An entry with its reason opened."""
    try:
        reason = mask.unseal(row.reason, row.entry_id)
    except SecretsError:
        reason = None
    return Recorded(
        id=row.entry_id,
        position=row.position,
        at=row.at,
        kind=row.kind,
        operation=row.operation,
        notice=row.notice or None,
        principal=row.principal or None,
        object=row.object or None,
        address=row.address or None,
        trace_id=row.trace or None,
        reason=reason or None,
        before=raw(row.before),
        after=raw(row.after),
        digest=row.digest.hex(),
    )


def raw(text: str | None) -> Raw | None:
    """JSON as it is stored."""
    return None if text is None else Raw(text.encode())


def in_full(row: Row) -> dict[str, Any]:
    """A row for an export: all that the hash was made over, as it was, the reason still sealed."""
    told: dict[str, Any] = msgspec.structs.asdict(row)
    return {**told, "digest": row.digest.hex()}
