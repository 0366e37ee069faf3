"""The one reader of a process: follows the log and hands each event to the consumers that want it.

Every commit of this process is handed out from memory once all transactions before it are known to
have ended. Where that is not known, the reader looks: it is rung by NOTIFY from others, and looks
anyway every `poll_floor_ms`. A commit stays invisible while an older writer runs (the horizon), so
while the reader was told of something it has not seen, it looks again after a short pause.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import groupby

from tradewind.kernel.messages import START, Delivered, Position
from tradewind.platform.bus import delivery, log
from tradewind.platform.bus.consumer import Held, Work
from tradewind.platform.bus.log import Vocabulary
from tradewind.platform.bus.recent import Announced, Recent
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

# How many subjects' last sequences are remembered to notice a gap: 100,000 are about 20 MB.
SUBJECTS_REMEMBERED = 100_000
UNSEEN_PAUSE_S = 0.002
# Under load something commits every millisecond; a read serves all that came since the last one.
READ_EVERY_S_MIN = 0.002
# A transaction that is missing before ours is usually a unit of this process that has not come
# back yet. After so long it is something else, and the log is asked.
GAP_S = 0.03
# Under load the loop takes turns of 10 to 50 ms, and a read takes two.
LATE_S = 0.1


class Reader:
    """Reads the log once for all consumers of this process."""

    def __init__(
        self, pool: Pool, vocabulary: Vocabulary, works: Sequence[Work], *, poll_floor_s: float
    ) -> None:
        self.pool = pool
        self.vocabulary = vocabulary
        self.works = works
        self.poll_floor_s = poll_floor_s
        self.cursor = START
        # Up to where it has been before it went back, and for whom it did: what lies between is
        # for them alone.
        self.front = START
        self.following: list[tuple[Work, int, Held]] = []
        self.told = 0  # the newest xid this process committed events under
        self.awaited = 0  # the newest of those that it looks for now
        self.recent = Recent()
        self.life = 0  # of the server, in which what is remembered was committed
        self.halted: set[int] = set()
        self.faulty = False  # the last look failed: the database does not answer
        self.lost: Callable[[], None] = lambda: None
        self.bell = asyncio.Event()
        self._session: Connection | None = None
        self._read_at = 0.0
        self._sequences: OrderedDict[tuple[str, str], int] = OrderedDict()
        for work in works:
            work.call_reader = self.ring
            work.life = lambda: self.life
        self._looking = False
        self._gap: asyncio.TimerHandle | None = None
        # Who wants a type, and who takes the log as a whole; a type met first is looked up once.
        self._wanted: dict[str, tuple[list[Work], list[Work]]] = {}

    def ring(self, xid: int = 0) -> None:
        """Something was committed; with its xid, where it is ours."""
        self.told = max(self.told, xid)
        self.awaited = max(self.awaited, xid)
        self.bell.set()

    def committed(self, xid: int, announced: Announced | None, life: int) -> None:
        """A transaction of this process committed, in this life of the server."""
        if announced is not None:
            self.told = max(self.told, xid)
        if life and life == self.life:
            self.recent.put(xid, announced)
            self.advance()
        if self.told > self.cursor.xid and self._gap is None:
            loop = asyncio.get_running_loop()
            pause_s = GAP_S if self.pool.in_use else 0.0
            self._gap = loop.call_later(pause_s, self._mind_the_gap, self.cursor)

    def _mind_the_gap(self, cursor: Position) -> None:
        self._gap = None
        if self.told > self.cursor.xid:
            if self.cursor == cursor:
                self.ring(self.told)
            else:  # it moved, and waits for another one now
                loop = asyncio.get_running_loop()
                self._gap = loop.call_later(GAP_S, self._mind_the_gap, self.cursor)

    def advance(self) -> None:
        """Hand out what is known to come next. Not while a look is under way: it knows less."""
        if self._looking or self._session is None or self._session.is_closed():
            return
        messages, self.cursor = self.recent.after(self.cursor)
        for message in messages:
            follows = message.partition not in self.halted and self.follows(message)
            self.hand_out(message, follows=follows)

    @property
    def late(self) -> bool:
        """Whether it has not come to read what was committed here a while ago."""
        return self.awaited > self.cursor.xid and time.monotonic() - self._read_at > LATE_S

    async def run(self) -> None:
        """Follow the log until cancelled."""
        backoff_s = 0.05
        while True:
            early_s = self._read_at + READ_EVERY_S_MIN - time.monotonic()
            if early_s > 0:
                await asyncio.sleep(early_s)
            self.bell.clear()
            try:
                count = await self.step()
                backoff_s = 0.05
                self.faulty = False
            except delivery.PASSING as fault:
                self.faulty = True
                logger.warning("bus.reader_fault", fault=repr(fault)[:300])
                self.start_over()
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))
                backoff_s = min(2.0, backoff_s * 2)
                continue
            if count == log.READ_ROWS_MAX:
                await asyncio.sleep(0)
                continue
            unseen = self.awaited > self.cursor.xid
            try:
                async with asyncio.timeout(UNSEEN_PAUSE_S if unseen else self.poll_floor_s):
                    await self.bell.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Read once and hand out; how many rows came."""
        self.come_back()
        self.leap()
        if not any(held.ready for work in self.works for held in work.held.values()):
            # Nobody has room, or holds anything: what is read now would be read again.
            if self.faulty:  # nothing to read for; but does it answer again?
                async with self.pool.lend("tradewind_bus") as connection:
                    await connection.execute("SELECT 1")
            return 0
        self._looking = True
        try:
            messages, cursor = await self.look()
        finally:
            self._looking = False
        self._read_at = time.monotonic()
        for message in messages:
            follows = message.partition not in self.halted and self.follows(message)
            self.hand_out(message, follows=follows)
        self.cursor = cursor
        self.recent.drop(cursor.xid if cursor.number == log.END_OF_XID else cursor.xid - 1)
        self.advance()
        return len(messages)

    async def look(self) -> tuple[list[Delivered], Position]:
        """What stands behind the cursor, and how far that has been seen."""
        session = await self.session()
        if not self.recent:
            rows, cursor = await log.read(session, self.cursor)
            return [self.vocabulary.decode(row) for row in rows], cursor
        places, cursor = await log.places(session, self.cursor)
        units = [(xid, list(group)) for xid, group in groupby(places, lambda place: place.xid)]
        known = {xid: self.recent.take(xid, group) for xid, group in units}
        unknown = [xid for xid, messages in known.items() if messages is None]
        rows_of = await log.rows_of(session, unknown) if unknown else {}
        found: list[Delivered] = []
        for xid, group in units:
            found += known[xid] or [self.vocabulary.decode(rows_of[place]) for place in group]
        return found, cursor

    async def session(self) -> Connection:
        """A session of its own: when the server crashes it ends, and is known to have ended."""
        if self._session is None:
            session = await self.pool.connect(name="tradewind reader")
            self._session = session  # at once: whatever breaks off from here on, `close` ends it
            # Its end is looked into at once: a server may be up again before the next look.
            session.add_termination_listener(lambda _: self.bell.set())
            await session.execute("SET ROLE tradewind_bus")
            self.life = await self.pool.bear_witness(session)
        return self._session

    def start_over(self) -> None:
        """Believe nothing that was remembered.

        A server that crashed may have lost what was not yet on the disk, and gives those
        transaction numbers again: a place in the log that was reached before means nothing. What
        holds is what the offsets say, so every partition is let go and taken again.
        """
        self.close()
        self.recent.forget()
        self.life = 0
        self.awaited = self.told = 0
        self.front = START
        self.following.clear()
        self._sequences.clear()
        for work in self.works:
            work.let_go(list(work.held))
        self.lost()

    def close(self) -> None:
        """Drop the session."""
        session, self._session = self._session, None
        if session is not None:
            session.terminate()

    def hand_out(self, message: Delivered, *, follows: bool) -> None:
        """Offer an event to each consumer. Behind a gap only to those that take the log as a whole:
        they number or copy what is there, and stopping them would stop every partition.
        """
        wanted = self._wanted.get(message.type)
        if wanted is None:
            takers = [w for w in self.works if w.types is None or message.type in w.types]
            wanted = takers, [work for work in takers if work.whole]
            self._wanted[message.type] = wanted
        for work in wanted[0] if follows else wanted[1]:
            work.offer(message)

    def passed(self, partition: int) -> Position:
        """Up to where a partition has been handed out; a halted one stays where it was."""
        return START if partition in self.halted else self.cursor

    def follows(self, row: Delivered) -> bool:
        """Whether this fact is the next one of its subject; a gap or a step back halts.

        Facts read again after a rewind, and subjects not seen lately, pass.
        """
        if row.subject.startswith("timer:"):
            return True
        name = (row.source, row.subject)
        last = self._sequences.pop(name, None)
        self._sequences[name] = row.sequence if last is None else max(last, row.sequence)
        if len(self._sequences) > SUBJECTS_REMEMBERED:
            self._sequences.popitem(last=False)
        if last is None or row.sequence <= last + 1:
            return True
        self.halted.add(row.partition)
        logger.error(
            "bus.gap",
            partition=row.partition,
            source=row.source,
            subject=row.subject,
            expected=last + 1,
            found=row.sequence,
        )
        return False

    def come_back(self) -> None:
        """Go back for consumers that got a partition, or have room again."""
        behind = [work for work in self.works if work.behind]
        wanted = [place for work in behind if (place := work.wants_from()) is not None]
        if not wanted:
            return
        if any(held.ready for work in self.works for held in work.held.values()):
            self.front = max(self.front, self.cursor)
            self.cursor = min(self.cursor, *wanted)
        else:
            # Nobody follows us: begin where the first one wants to, also if that is further on
            # (a start does not read the whole log). What lies between was for others to watch.
            self.cursor = self.front = min(wanted)
            self.following.clear()
            self._sequences.clear()
        for work in behind:
            if work.wants_from() is not None:
                resting = [(slot, held) for slot, held in work.held.items() if not held.ready]
                work.resume(self.cursor)
                self.following += [(work, slot, held) for slot, held in resting if held.ready]

    def leap(self) -> None:
        """Go on where somebody has room again: those for whom we went back may be full by now, or
        have let go, and what they have queued they need not see again.

        Whoever else is ready was handed out all that lies before the front.
        """
        self.following = [
            (work, slot, held)
            for work, slot, held in self.following
            if held.ready and work.held.get(slot) is held and self.cursor < self.front
        ]
        wanted = min((held.seen for _, _, held in self.following), default=self.front)
        self.cursor = max(self.cursor, min(wanted, self.front))
