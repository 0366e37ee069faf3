"""Quotas per day: how many requests a partner's key may make between two midnights, UTC.

Invariants: all processes together never let more through than the quota; a restart forgets nothing
but the shares of processes that were killed, which count as used (a hundredth each).

The rows in PostgreSQL are the truth. A process takes a share of what is left, a hundredth, counts
it down in memory and fetches the next one beside the requests when half is gone: no request waits
for the database but the first of a share that came late. While the database cannot be asked,
requests go through and are paid for with the next share.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import NamedTuple

from tradewind.platform.database.pool import Pool
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

ROLE = "tradewind_gateway"
DAY_S = 86_400
SHARES = 100  # so that what a process holds back is never more than a hundredth
SHARE_MIN = 10
ASKED_AGAIN_AFTER_S = 2.0  # by who is told that nothing is left: another may have given some back
ASKED_WITHIN_S = 2.0
DAYS_KEPT = 92

# One row per caller and day, found by its primary key. `used` may pass the quota by a part of the
# last share; what of the share counts is worked out by who took it.
TAKE = """
    INSERT INTO gateway.quotas AS q (caller, day, used) VALUES ($1, $2, $3)
        ON CONFLICT (caller, day) DO UPDATE SET used = q.used + excluded.used WHERE q.used < $4
 RETURNING used
"""
GIVE_BACK = "UPDATE gateway.quotas SET used = used - $3 WHERE caller = $1 AND day = $2"
FORGET = "DELETE FROM gateway.quotas WHERE day < $1"


class Standing(NamedTuple):
    """Where a caller stands with the day's quota."""

    allowed: bool
    quota: int
    remaining: int
    reset_s: int


class Share:
    """What this process may still let through of one caller's quota, today."""

    __slots__ = ("beyond", "day", "fetching", "left", "not_before", "on_credit", "quota", "used")

    def __init__(self, day: int, quota: int) -> None:
        self.day = day
        self.quota = quota
        self.left = 0  # below zero: let through on credit
        self.beyond = 0  # of what was taken: above the quota
        self.used = 0  # by all, as last told
        self.not_before = 0.0  # when to ask again after nothing was left, or nobody answered
        self.on_credit = False  # nobody answered
        self.fetching: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """How much is taken at once."""
        return min(self.quota, max(SHARE_MIN, self.quota // SHARES))


class Quotas:
    """The quotas of one process. `close` gives back what is left of its shares."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._clock = clock
        self._shares: dict[str, Share] = {}
        self._day = 0

    async def take(self, caller: str, quota: int) -> Standing:
        """Count one request of a caller."""
        now = self._clock()
        share = await self._share(caller, int(now // DAY_S), quota)
        while True:
            if share.left * 2 <= share.size and share.fetching is None and now >= share.not_before:
                share.fetching = asyncio.create_task(self._fetch(caller, share))
            if share.left > 0 or share.fetching is None:
                break
            # Shielded: one caller that hangs up must not take the share from the others.
            await asyncio.shield(share.fetching)
        allowed = share.left > 0 or share.on_credit
        if allowed:
            share.left -= 1
        remaining = min(quota, max(0, quota - share.used) + max(0, share.left))
        return Standing(allowed, quota, remaining, int((share.day + 1) * DAY_S - now) + 1)

    async def close(self) -> None:
        """Give back what nobody used."""
        for caller, share in self._shares.items():
            await self._give_back(caller, share)
        self._shares.clear()

    async def _share(self, caller: str, day: int, quota: int) -> Share:
        share = self._shares.get(caller)
        if share is not None and share.day == day and share.quota == quota:
            return share
        fresh = self._shares[caller] = Share(day, quota)
        if share is not None and share.day == day:  # the quota was changed meanwhile
            await self._give_back(caller, share)
        if day != self._day:
            self._day = day
            self._shares = {who: kept for who, kept in self._shares.items() if kept.day == day}
            await self._forget(day)
        return fresh

    async def _fetch(self, caller: str, share: Share) -> None:
        wanted = share.size
        try:
            used = await self._ask(TAKE, caller, date_of(share.day), wanted, share.quota)
        except Exception as fault:
            logger.warning("quotas.not_asked", fault=repr(fault)[:300])
            share.on_credit = True
            share.not_before = self._clock() + ASKED_AGAIN_AFTER_S
        else:
            share.on_credit = False
            if used is None:
                share.used = share.quota
                share.not_before = self._clock() + ASKED_AGAIN_AFTER_S
            else:
                share.beyond = max(0, used - share.quota)
                share.used = min(used, share.quota)
                share.left += wanted - share.beyond
        finally:
            share.fetching = None

    async def _give_back(self, caller: str, share: Share) -> None:
        if share.fetching is not None:
            await asyncio.gather(share.fetching, return_exceptions=True)
        unused = share.left + share.beyond if share.left > 0 else share.left
        if not unused:
            return
        share.left = 0
        try:
            await self._ask(GIVE_BACK, caller, date_of(share.day), unused)
        except Exception as fault:
            logger.warning("quotas.not_given_back", fault=repr(fault)[:300])

    async def _forget(self, day: int) -> None:
        try:
            await self._ask(FORGET, date_of(day - DAYS_KEPT))
        except Exception as fault:
            logger.warning("quotas.not_forgotten", fault=repr(fault)[:300])

    async def _ask(self, statement: str, *told: object) -> int | None:
        async with asyncio.timeout(ASKED_WITHIN_S), self._pool.lend(ROLE) as connection:
            found: int | None = await connection.fetchval(statement, *told)
            return found


def date_of(day: int) -> date:
    """The day with this number since 1970."""
    return date(1970, 1, 1) + timedelta(days=day)
