"""Whether consumers have passed what a request announced: here, in other processes, or over there
in a database of their own.

One look a database serves everybody who waits, so that many who wait ask no more than one.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tradewind.kernel.messages import partition_of
from tradewind.platform.bus import delivery
from tradewind.platform.bus.recent import Announced
from tradewind.platform.database.databases import Databases
from tradewind.platform.database.pool import Pool
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

LOOK_EVERY_S = 0.01


class Fact(Struct, frozen=True):
    """An event by the name it has in every database."""

    source: str
    subject: str
    sequence: int
    partition: int


class Question(Struct, frozen=True):
    """Has this consumer passed this fact?"""

    consumer: str
    fact: Fact


# Served by the primary key of the offsets and the log's index by subject. A consumer without an
# offset runs nowhere: nobody waits for it.
PASSED = """
    SELECT w.number::integer
      FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[], $5::bigint[])
      WITH ORDINALITY AS w (consumer, partition, source, subject, sequence, number)
     WHERE NOT EXISTS (SELECT FROM bus.offsets o WHERE o.consumer = w.consumer)
        OR EXISTS (
           SELECT FROM bus.log l JOIN bus.offsets o ON o.consumer = w.consumer
                                                   AND o.partition IN (w.partition, -1)
            WHERE l.subject = w.subject AND l.source = w.source AND l.sequence = w.sequence
              AND (o.xid, o.number) >= (l.xid, l.number))
"""


def facts_for(announced: Iterable[Announced], types: frozenset[str]) -> list[Fact]:
    """The last event of these types in each partition: who passed it has passed those before."""
    last: dict[int, Fact] = {}
    for unit in announced:
        for event in unit.events:
            if event.type in types:
                partition = partition_of(event.key)
                last[partition] = Fact(unit.source, event.subject, event.sequence, partition)
    return list(last.values())


class Waiting(Struct):
    """Somebody who waits, and for what still."""

    open: set[Question]
    done: asyncio.Future[None]


class Passing:
    """Looks for all who wait, while there are any."""

    def __init__(self, databases: Databases, listens: Mapping[str, frozenset[str]]) -> None:
        self._databases = databases
        self._listens = listens  # consumer -> the types it is handed
        self._waiting: dict[str, list[Waiting]] = {}  # by the database of the consumers
        self._looking: dict[str, asyncio.Task[None]] = {}

    async def passed(
        self, consumers: Sequence[str], announced: Sequence[Announced], timeout_s: float
    ) -> bool:
        """Whether all these consumers pass, in time, what is for them of this."""
        by_database: dict[str, tuple[Pool, set[Question]]] = {}
        for consumer in consumers:
            facts = facts_for(announced, self._listens.get(consumer, frozenset()))
            pool = self._databases.of(consumer.partition(".")[0])
            _, questions = by_database.setdefault(pool.dsn, (pool, set()))
            questions.update(Question(consumer, fact) for fact in facts)
        waits = [self._wait(pool, questions) for pool, questions in by_database.values()]
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*waits)
        except TimeoutError:
            return False
        return True

    async def _wait(self, pool: Pool, questions: set[Question]) -> None:
        if not questions:
            return
        one = Waiting(questions, asyncio.get_running_loop().create_future())
        waiting = self._waiting.setdefault(pool.dsn, [])
        waiting.append(one)
        if pool.dsn not in self._looking:
            self._looking[pool.dsn] = asyncio.create_task(self._look_while_any(pool))
        try:
            await one.done
        finally:
            if one in waiting:
                waiting.remove(one)

    async def _look_while_any(self, pool: Pool) -> None:
        waiting = self._waiting[pool.dsn]
        try:
            while waiting:
                try:
                    await self._look(pool, waiting)
                except delivery.PASSING as fault:
                    logger.warning("passing.fault", fault=repr(fault)[:300])
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            del self._looking[pool.dsn]

    async def _look(self, pool: Pool, waiting: Sequence[Waiting]) -> None:
        asked = list({question for one in waiting for question in one.open})
        async with pool.lend("tradewind_bus") as connection:
            rows = await connection.fetch(
                PASSED,
                [question.consumer for question in asked],
                [question.fact.partition for question in asked],
                [question.fact.source for question in asked],
                [question.fact.subject for question in asked],
                [question.fact.sequence for question in asked],
            )
        passed = {asked[number - 1] for (number,) in rows}
        for one in list(waiting):
            one.open -= passed
            if not one.open and not one.done.done():
                one.done.set_result(None)

    async def close(self) -> None:
        """Look no more."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
