"""Proof that the record is what was written: every entry, every place, every signed head.

Reads and nothing else, so it can be pointed at a copy. What it finds is a sentence that says where.
"""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from tradewind.platform.audit.entries import GENESIS, Standing, link
from tradewind.platform.audit.heads import SignedHead, is_signed
from tradewind.platform.audit.sealer import Unsealed, standing
from tradewind.platform.database.pool import Connection
from tradewind.platform.security.secrets import Secrets, SecretsError

READ_AT_ONCE = 5_000
# A sealer looks twice a second. An entry that waits longer waits for one that does not run.
SEALED_WITHIN = timedelta(minutes=5)
# A head is written every few seconds; after so long without one, somebody took them away.
ANCHORED_WITHIN = timedelta(minutes=5)
TOLD_MAX = 20


class Link(Struct, frozen=True):
    """A place of the chain with its entry, if that is there."""

    position: int
    entry_id: str
    xid: int
    digest: bytes
    entry: Standing | None


class Found(Struct, frozen=True):
    """What a verification came to."""

    places: int  # of the chain
    waiting: int  # entries that are not sealed yet
    heads: int  # signed heads that were compared
    digest: str  # of the last place, hex
    faults: tuple[str, ...]  # empty: nothing was changed
    more: int = 0  # faults beyond those told


# chain_pkey, entries_pkey.
WALK = """
    SELECT c.position, c.entry_id, c.xid::text::bigint, c.digest,
           e.entry_id, e.xid::text::bigint, e.at, e.kind, e.operation, e.notice, e.principal,
           e.object, e.address, e.trace, e.reason, e.before, e.after
      FROM audit.chain c LEFT JOIN audit.entries e ON e.entry_id = c.entry_id
     WHERE c.position > $1 ORDER BY c.position LIMIT $2
"""
# Entries without a place: those behind the last place wait for the sealer, others were put in.
LOOSE = """
    SELECT e.entry_id, e.at,
           coalesce((e.xid, e.entry_id) > (l.xid, l.entry_id), true) AS is_behind
      FROM audit.entries e
      LEFT JOIN (SELECT xid, entry_id FROM audit.chain ORDER BY position DESC LIMIT 1) l ON true
     WHERE NOT EXISTS (SELECT FROM audit.chain c WHERE c.entry_id = e.entry_id)
     ORDER BY e.entry_id
"""


class Verifier:
    """Walks the chain once and collects what is wrong."""

    def __init__(
        self, secrets: Secrets, heads: Iterable[tuple[str, SignedHead | None]], now: datetime
    ) -> None:
        """Take the heads with where each stands: "heads.jsonl line 7"."""
        self._now = now
        self._faults: list[str] = []
        self._count = 0
        self._heads: dict[int, list[tuple[str, SignedHead]]] = {}
        self._compared = 0
        for where, signed in heads:
            if signed is None:
                continue  # a line that a crash cut: it says nothing, neither good nor bad
            self._take(secrets, where, signed)

    def _take(self, secrets: Secrets, where: str, signed: SignedHead) -> None:
        try:
            good = is_signed(secrets, signed)
        except SecretsError as error:
            self._say(f"{where}: {error}")
            return
        if not good:
            self._say(f"{where}: the signature is not ours: this head was changed or made up.")
            return
        self._heads.setdefault(signed.position, []).append((where, signed))

    def _say(self, sentence: str) -> None:
        self._count += 1
        if len(self._faults) < TOLD_MAX:
            self._faults.append(sentence)

    async def verify(self, connection: Connection) -> Found:
        """Follow the chain from its first place to its last. In one snapshot."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            expected, digest = 1, GENESIS
            last: Link | None = None
            async for place in walk(connection):
                gap = place.position - expected
                if gap:
                    self._say(
                        f"Place {expected} of the chain is missing"
                        + (f", with all up to {place.position - 1}." if gap > 1 else ".")
                    )
                self._look(place, digest, follows=place.position == expected)
                digest, expected, last = place.digest, place.position + 1, place
            waiting = await self._loose(connection)
        places = expected - 1
        self._truncated(places)
        self._anchored(last)
        return Found(
            places=places,
            waiting=waiting,
            heads=self._compared,
            digest=digest.hex() if places else "",
            faults=tuple(self._faults),
            more=self._count - len(self._faults),
        )

    def _look(self, place: Link, before: bytes, *, follows: bool) -> None:
        where = f"Place {place.position}, entry {place.entry_id}"
        if place.entry is None:
            self._say(f"{where}: the entry was deleted.")
        elif place.entry.xid != place.xid:
            self._say(f"{where}: entry and place name different transactions.")
        elif follows and link(before, place.position, place.entry) != place.digest:
            self._say(f"{where}: the hash does not fit: the entry or its place was changed.")
        for source, signed in self._heads.pop(place.position, ()):
            self._compared += 1
            if signed.digest != place.digest.hex():
                self._say(
                    f"{where}: {source} was signed with another hash here: the chain was made anew "
                    "from this place or before it."
                )

    async def _loose(self, connection: Connection) -> int:
        waiting = 0
        for entry_id, at, is_behind in await connection.fetch(LOOSE):
            if not is_behind:
                self._say(
                    f"Entry {entry_id} lies before the end of the chain and has no place in it: it "
                    "was put in later, or its place was taken away."
                )
            elif self._now - at > SEALED_WITHIN:
                self._say(
                    f"Entry {entry_id} of {at.isoformat()} was never sealed: no platform has run "
                    "on this database since, or the sealer is stopped. Start one, verify again."
                )
            else:
                waiting += 1
        return waiting

    def _truncated(self, places: int) -> None:
        for position, signed in sorted(self._heads.items()):
            self._say(
                f"{signed[0][0]} was signed at place {position}, but the chain "
                + (f"ends at {places}" if position > places else "lacks that place")
                + ": what stood there was cut off."
            )

    def _anchored(self, last: Link | None) -> None:
        if last is None or self._compared or self._count:
            return
        if last.entry is None or self._now - last.entry.at > ANCHORED_WITHIN:
            self._say(
                "There is a chain and no signed head to compare it with: the file of heads was "
                "taken away. Name a copy of it, or a head from the logs."
            )


async def walk(connection: Connection) -> AsyncIterator[Link]:
    """Every place in order, some thousands at a time."""
    after = 0
    while True:
        rows = await connection.fetch(WALK, after, READ_AT_ONCE)
        for row in rows:
            entry = None if row[4] is None else standing(Unsealed(*row[4:]))
            yield Link(row[0], row[1], row[2], row[3], entry)
        if len(rows) < READ_AT_ONCE:
            return
        after = rows[-1][0]


def now() -> datetime:
    """For who verifies: how old the newest entries are does not need the database's clock."""
    return datetime.now(UTC)
