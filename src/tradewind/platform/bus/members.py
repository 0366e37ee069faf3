"""Who works for which partition.

Every process keeps one session. Its advisory lock says "alive" and vanishes with the session at a
crash; a row it touches every second says "not paused". The living members of a consumer share its
partitions evenly, each computing the same table from the same list; a partition is taken over by
raising its epoch, which throws out whatever its former holder still tries to commit.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from tradewind.kernel.messages import PARTITIONS, Position
from tradewind.platform.bus import delivery
from tradewind.platform.bus.consumer import WHOLE, Work
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

LOG_CHANNEL = "tradewind_log"
ANSWERS_CHANNEL = "tradewind_answers"
MEMBERS_CHANNEL = "tradewind_members"
ALIVE_CLASS = 0x7472  # first half of the advisory lock that says "alive"; the second is the id
TICK_S = 1.0
# A server that was killed replays its log for a second or two; a process that gives up before only
# makes the wait longer. One that is not there at all is said so after this.
AWAITED_S = 30.0

JOIN = "INSERT INTO bus.processes (name, consumers) VALUES ($1, $2) RETURNING id"
SEEN = "UPDATE bus.processes SET seen_at = now() WHERE id = $1 RETURNING id"
LEAVE = "DELETE FROM bus.processes WHERE id = $1"
LET_GO = "UPDATE bus.offsets SET holder = NULL WHERE holder = $1"
# The dead leave at once (no session holds their lock); the paused after `lease_s`.
BURY = """
    DELETE FROM bus.processes p
     WHERE p.id <> $1 AND (p.seen_at < now() - make_interval(secs => $2) OR NOT EXISTS (
           SELECT 1 FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = $3
              AND l.objid::bigint = p.id AND l.database = (
                  SELECT oid FROM pg_database WHERE datname = current_database())))
       AND (p.seen_at < now() - interval '1 second')
"""
LIVING = "SELECT id, consumers FROM bus.processes ORDER BY id"
MAKE_OFFSETS = """
    INSERT INTO bus.offsets (consumer, partition)
    SELECT c, p FROM unnest($1::text[], $2::smallint[]) AS o (c, p) ON CONFLICT DO NOTHING
"""
# Ours to take: nobody's, ours already, or of somebody who is gone.
TAKE = """
    UPDATE bus.offsets o SET holder = $1, epoch = o.epoch + 1
      FROM unnest($2::text[], $3::smallint[]) AS w (consumer, partition)
     WHERE o.consumer = w.consumer AND o.partition = w.partition
       AND (o.holder IS NULL OR o.holder = $1
            OR NOT EXISTS (SELECT 1 FROM bus.processes p WHERE p.id = o.holder))
    RETURNING o.consumer, o.partition, o.xid::text::bigint, o.number, o.epoch
"""
# By what the table says, not by what we hold: a lease that was lost in the very moment in which its
# partition fell to another must be given up too, or nobody would ever take it.
GIVE_UP = """
    UPDATE bus.offsets o SET holder = NULL
     WHERE o.holder = $1 AND NOT EXISTS (
           SELECT 1 FROM unnest($2::text[], $3::smallint[]) AS w (consumer, partition)
            WHERE w.consumer = o.consumer AND w.partition = o.partition)
    RETURNING 1
"""
# Idle consumers follow the reader, so that a restart does not begin at their last interest.
FOLLOW = """
    UPDATE bus.offsets o SET xid = f.xid::text::xid8, number = f.number
      FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[],
                  $6::bigint[], $7::bigint[])
           AS f (consumer, partition, epoch, xid_before, number_before, xid, number)
     WHERE o.consumer = f.consumer AND o.partition = f.partition AND o.epoch = f.epoch
       AND o.xid = f.xid_before::text::xid8 AND o.number = f.number_before
    RETURNING o.consumer, o.partition
"""


class Member(Struct, frozen=True):
    """A living process and the consumers it runs."""

    id: int
    consumers: tuple[str, ...]


class Members:
    """This process's place among the others: heartbeat, leases, doorbells."""

    def __init__(
        self,
        pool: Pool,
        clock: Clock,
        works: Sequence[Work],
        *,
        lease_s: float,
        heard: Callable[[str], None],
        passed: Callable[[int], Position],
    ) -> None:
        self.pool = pool
        self.clock = clock
        self.works = {work.name: work for work in works}
        self.lease_s = lease_s
        self.heard = heard
        self.passed = passed
        self.id = 0
        self.living: tuple[Member, ...] = ()
        self.hurry = asyncio.Event()
        self._session: Connection | None = None

    @property
    def alone(self) -> bool:
        """Whether no other process needs to hear of our commits."""
        return len(self.living) <= 1

    async def join(self) -> None:
        """The first round. A database that is just getting up is waited for, for a while."""
        give_up_at = time.monotonic() + AWAITED_S
        while True:
            try:
                await self.tick()
                return
            except delivery.PASSING as fault:
                self.forget_all()
                await self.close_session()
                if time.monotonic() > give_up_at:
                    raise
                logger.warning("bus.database_awaited", fault=repr(fault)[:300])
                await asyncio.sleep(random.uniform(0.1, 0.3))

    async def run(self) -> None:
        """Keep the session, the heartbeat and the leases until cancelled."""
        while True:
            try:
                await self.tick()
            except delivery.PASSING as fault:
                logger.warning("bus.members_fault", fault=repr(fault)[:300])
                self.forget_all()
                await self.close_session()
                await asyncio.sleep(random.uniform(0.1, 0.3))
                continue
            self.hurry.clear()
            try:
                async with asyncio.timeout(TICK_S):
                    await self.hurry.wait()
            except TimeoutError:
                continue

    async def tick(self) -> None:
        """One round: show that we live, bury the dead, take what is ours, leave what is not."""
        session = await self.session()
        if await session.fetchval(SEEN, self.id) is None:
            # We were taken for dead (paused too long): what we held may be somebody else's.
            self.forget_all()
            await self.close_session()
            session = await self.session()
        await self.clock.follow(session)
        await session.execute(BURY, self.id, self.lease_s, ALIVE_CLASS)
        self.living = tuple(
            Member(row["id"], tuple(row["consumers"])) for row in await session.fetch(LIVING)
        )
        self.heard(MEMBERS_CHANNEL)
        await self.rebalance(session)
        await self.follow(session)

    async def session(self) -> Connection:
        """Our session, opened and made known if need be."""
        if self._session is not None and not self._session.is_closed():
            return self._session
        session = await self.pool.connect(name="tradewind keeper")
        try:
            await self.enter(session)
        except BaseException:
            session.terminate()
            raise
        self._session = session
        return session

    async def enter(self, session: Connection) -> None:
        """Make ourselves known in a new session."""
        await session.execute("SET ROLE tradewind_bus")
        names = sorted(self.works)
        self.id = await session.fetchval(JOIN, f"{os.uname().nodename}:{os.getpid()}", names)
        await session.execute("SELECT pg_advisory_lock($1::int, $2::int)", ALIVE_CLASS, self.id)
        for channel in (LOG_CHANNEL, ANSWERS_CHANNEL, MEMBERS_CHANNEL):
            await session.add_listener(channel, self._on_notify)
        wanted = [(n, p) for n in names for p in slots(self.works[n])]
        await session.execute(MAKE_OFFSETS, [n for n, _ in wanted], [p for _, p in wanted])
        await session.execute("SELECT pg_notify($1, '')", MEMBERS_CHANNEL)

    def _on_notify(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        if channel == MEMBERS_CHANNEL:
            self.hurry.set()
        else:
            self.heard(channel)

    async def rebalance(self, session: Connection) -> None:
        """Compare what is ours with what we hold."""
        take: list[tuple[str, int]] = []
        ours: list[tuple[str, int]] = []
        for name, work in self.works.items():
            mine = set(share(self.id, name, self.living, slots(work)))
            work.let_go(work.held.keys() - mine)
            take += [(name, p) for p in mine - work.held.keys()]
            ours += [(name, p) for p in mine]
        if await session.fetch(GIVE_UP, self.id, [n for n, _ in ours], [p for _, p in ours]):
            await session.execute("SELECT pg_notify($1, '')", MEMBERS_CHANNEL)
        if not take:
            return
        names, partitions = zip(*take, strict=True)
        rows = await session.fetch(TAKE, self.id, list(names), list(partitions))
        for name in {row["consumer"] for row in rows}:
            await self.works[name].learn_blocked()
        for row in rows:
            work = self.works[row["consumer"]]
            work.hold(row["partition"], Position(row["xid"], row["number"]), row["epoch"])

    async def follow(self, session: Connection) -> None:
        """Move the offsets of idle consumers up to what the reader has passed."""
        passed = {p: self.passed(p) for p in (WHOLE, *range(PARTITIONS))}
        moved: list[tuple[Any, ...]] = []
        for name, work in self.works.items():
            if work.queue or work.behind or work.gate.locked():
                continue
            moved += [
                (name, p, h.epoch, *place(h.committed), *place(passed[p]))
                for p, h in work.held.items()
                if h.committed < passed[p] and h.seen <= h.committed
            ]
        if not moved:
            return
        gates = [self.works[name].gate for name in sorted({row[0] for row in moved})]
        for gate in gates:
            await gate.acquire()
        try:
            still = [
                row
                for row in moved
                if not self.works[row[0]].queue
                and row[1] in self.works[row[0]].held
                and self.works[row[0]].held[row[1]].committed == Position(row[3], row[4])
            ]
            if still:
                columns = list(map(list, zip(*still, strict=True)))
                done = {tuple(row) for row in await session.fetch(FOLLOW, *columns)}
                for name, partition in (row[:2] for row in still):
                    work = self.works[name]
                    if (name, partition) not in done:
                        # Not where, or not whose, we believe: nothing else would tell us.
                        work.let_go([partition])
                        self.hurry.set()
                    elif (held := work.held.get(partition)) is not None:
                        held.committed = passed[partition]
                        held.seen = max(held.seen, held.committed)
        finally:
            for gate in gates:
                gate.release()

    def forget_all(self) -> None:
        """We are not sure of any lease any more."""
        for work in self.works.values():
            work.let_go(list(work.held))

    async def close_session(self) -> None:
        """Drop the session; our lock goes with it."""
        session, self._session = self._session, None
        if session is not None:
            session.terminate()

    async def leave(self) -> None:
        """Say good-bye, so that others take over at once."""
        session = self._session
        if session is None or session.is_closed():
            return
        try:
            async with asyncio.timeout(2):
                await session.execute(LET_GO, self.id)
                await session.execute(LEAVE, self.id)
                await session.execute("SELECT pg_notify($1, '')", MEMBERS_CHANNEL)
                await session.close()
        except delivery.PASSING:
            session.terminate()


def place(position: Position) -> tuple[int, int]:
    """A position as two columns."""
    return position.xid, position.number


def slots(work: Work) -> list[int]:
    """The offset rows a consumer has."""
    return [WHOLE] if work.whole else list(range(PARTITIONS))


def share(me: int, consumer: str, living: Sequence[Member], partitions: Sequence[int]) -> list[int]:
    """The partitions of a consumer that fall to one member; every member computes the same."""
    members = [member.id for member in living if consumer in member.consumers]
    if me not in members:
        return []
    place = members.index(me)
    return [p for p in partitions if (p if p >= 0 else 0) % len(members) == place]
