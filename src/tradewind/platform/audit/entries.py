"""Entries of the record: what they hold, how they are written and hashed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tradewind.kernel.audit import Audited, Change
from tradewind.kernel.messages import Command, Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

Kind = Literal["write", "read", "notice"]
GENESIS = bytes(32)  # what stands before the first place of the chain

_encode = msgspec.json.Encoder(order="deterministic").encode


class Entry(Struct, frozen=True, kw_only=True):
    """One row of audit.entries as it is written; the database adds the transaction."""

    entry_id: str
    at: datetime
    kind: Kind
    operation: str
    notice: str
    principal: str
    object: str
    address: str
    trace: str
    reason: str
    before: str | None = None
    after: str | None = None


class Standing(Entry, frozen=True, kw_only=True):
    """An entry as it stands in the record."""

    xid: int


# Without a conflict target on purpose: it would need the right to read. An entry that is there was
# written by an earlier try of the same command, and says what that did.
WRITE = """
    INSERT INTO audit.entries (entry_id, at, kind, operation, notice, principal, object, address,
                               trace, reason, before, after)
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[],
                         $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                         $12::text[])
        ON CONFLICT DO NOTHING
"""


def write(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Queue entries for the commit of this unit of work."""
    if entries:
        tx.write(WRITE, *columns(entries))


def columns(entries: Sequence[Entry]) -> list[list[Any]]:
    """The values of `WRITE`, column by column."""
    return [[getattr(entry, field) for entry in entries] for field in Entry.__struct_fields__]


def of_unit(commands: Sequence[Command], decision: Decision, now: datetime) -> list[Entry]:
    """The entries of a decided batch: one per command that was accepted and changed something."""
    entries = []
    for index, command in enumerate(commands):
        if command.audit is None or isinstance(decision.outcomes[index], Problem):
            continue
        change = decision.changes.get(index)
        if change is None or not change.is_none:
            entries.append(of_action(command.audit, change, now))
    return entries


def of_action(audited: Audited, change: Change | None, now: datetime) -> Entry:
    """The entry of one action."""
    return Entry(
        entry_id=audited.entry_id,
        at=now,
        kind="write",
        operation=audited.operation,
        notice=audited.notice,
        principal=audited.principal,
        object=change.object if change else audited.object,
        address=audited.address,
        trace=audited.trace,
        reason=audited.reason,
        before=side(change.before) if change else None,
        after=side(change.after) if change else None,
    )


def as_read(entry: Entry) -> Entry:
    """The entry of somebody who only looked."""
    return msgspec.structs.replace(entry, kind="read")


def side(values: Mapping[str, Any] | None) -> str | None:
    """One side of a change as JSON."""
    return None if values is None else _encode(values).decode()


def link(before: bytes, position: int, entry: Standing) -> bytes:
    """The hash at a place of the chain: over the place, its entry and the hash before it.

    Fields are written as a JSON array, so that no two entries have the same text.
    """
    text = _encode(
        [
            position,
            entry.entry_id,
            entry.xid,
            instant(entry.at),
            entry.kind,
            entry.operation,
            entry.notice,
            entry.principal,
            entry.object,
            entry.address,
            entry.trace,
            entry.reason,
            entry.before,
            entry.after,
        ]
    )
    return sha256(before + text).digest()


def instant(at: datetime) -> str:
    """A time to the microsecond, in UTC: one spelling for each."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
