"""Putting entries into the chain: one at a time, in the order of their commits.

Entries come unchained, so that those who write them wait for nobody. Below the horizon of the
server every transaction has ended: what stands there, by (transaction, entry), is final, and is
sealed in that order. The places of the chain are 1, 2, 3 ... without gaps, because they are given
under one lock in the commit that fills them; what rolled back never had one.

Invariants: an entry is sealed once; a sealed place never changes; what is sealed with a notice is
announced on the log in the same commit.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tradewind.kernel.messages import NOTHING, Decision
from tradewind.platform.audit.entries import GENESIS, Kind, Standing, link
from tradewind.platform.audit.events import SecurityNoticed, noticed
from tradewind.platform.audit.heads import Head, Heads
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

SEALED_EVERY_S = 0.5
SEALED_AT_ONCE_MAX = 500


class Place(Struct, frozen=True):
    """A place of the chain."""

    position: int
    entry_id: str
    xid: int
    digest: bytes


class Unsealed(Struct, frozen=True):
    """An entry that is not in the chain yet: the columns of `AFTER`."""

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


# chain_pkey, read backwards.
LAST = """
    SELECT position, entry_id, xid::text::bigint, digest FROM audit.chain
     ORDER BY position DESC LIMIT 1
"""
# chain_pkey.
AT = "SELECT position, entry_id, xid::text::bigint, digest FROM audit.chain WHERE position = $1"
# entries_by_commit. Below xmin every transaction has ended: nothing can still come in between.
AFTER = """
    SELECT entry_id, xid::text::bigint, at, kind, operation, notice, principal, object, address,
           trace, reason, before, after
      FROM audit.entries
     WHERE (xid, entry_id) > ($1::text::xid8, $2)
       AND xid < pg_snapshot_xmin(pg_current_snapshot())
     ORDER BY xid, entry_id LIMIT $3
"""
SEAL = """
    INSERT INTO audit.chain (position, entry_id, xid, digest)
    SELECT position, entry_id, xid::text::xid8, digest
      FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])
        AS c (position, entry_id, xid, digest)
"""


class Sealer:
    """The sweep that seals. Any number may run; one works at a time."""

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._seen: Place | None = None

    async def seal(self, tx: Transaction) -> Decision:
        """Seal what is final, and announce what a security system shall hear of."""
        await tx.lock("audit", ["chain"])
        last = await tx.fetch_one(LAST, into=Place) or Place(0, "", 0, GENESIS)
        torn = await self._torn(tx, last)
        after = (str(last.xid), last.entry_id)
        rows = await tx.fetch(AFTER, *after, SEALED_AT_ONCE_MAX, into=Unsealed)
        if not rows and not torn:
            return NOTHING
        events: list[SecurityNoticed] = list(torn)
        positions, digests = [], []
        digest = last.digest
        for position, row in enumerate(rows, last.position + 1):
            entry = standing(row)
            digest = link(digest, position, entry)
            positions.append(position)
            digests.append(digest)
            if entry.notice:
                events.append(noticed(entry, position))
        if rows:
            tx.write(
                SEAL, positions, [row.entry_id for row in rows], [row.xid for row in rows], digests
            )
            head = Head(positions[-1], digest.hex(), tx.now)
            return Decision(events=events, signals=[head])
        return Decision(events=events)

    def sealed(self, heads: Sequence[Head]) -> None:
        """Told after the commit: the head goes outside, and is what is expected the next time."""
        newest = max(heads, key=lambda head: head.position)
        if self._seen is None or newest.position > self._seen.position:
            self._seen = Place(newest.position, "", 0, bytes.fromhex(newest.digest))
        self._heads.note(newest)

    async def _torn(self, tx: Transaction, last: Place) -> list[SecurityNoticed]:
        """What to say where the place that this process sealed last is not what it was."""
        seen = self._seen
        if seen is None:
            return []
        found = last
        if last.position != seen.position:
            found = await tx.fetch_one(AT, seen.position, into=Place) or Place(0, "", 0, b"")
        if found.digest == seen.digest:
            return []
        logger.error("audit.torn", position=seen.position, digest=seen.digest.hex())
        self._seen = None  # said once
        return [SecurityNoticed.of_tampering(f"place {seen.position}", tx.now)]


def standing(row: Unsealed) -> Standing:
    """A row as an entry."""
    return Standing(**{name: getattr(row, name) for name in Unsealed.__struct_fields__})


__all__ = ["SEALED_EVERY_S", "Place", "Sealer", "standing"]
