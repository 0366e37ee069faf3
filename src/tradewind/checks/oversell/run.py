"""The whole check: start a platform, fill it, let clients and the nemesis at it, wait, judge."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import asyncpg
from msgspec import Struct

from tradewind.checks.oversell import checker, evidence
from tradewind.checks.oversell.checker import Anomaly
from tradewind.checks.oversell.clients import (
    HOT,
    HOT_UNITS,
    PRICE,
    SPREAD,
    SPREAD_UNITS,
    Client,
    Crowd,
    Follower,
    Storekeeper,
    Wish,
)
from tradewind.checks.oversell.history import Recorder
from tradewind.checks.oversell.installation import Installation, NotReady
from tradewind.checks.oversell.nemesis import Nemesis
from tradewind.checks.proofs import prove_all, under_way
from tradewind.checks.provider import simulator_url
from tradewind.platform.database.embedded import database_url
from tradewind.platform.settings import read_settings

UP = (sys.executable, "-m", "tradewind", "up")
# Cards that never answer are not used any more this long before the end: who is behind them is
# looked for slowly, and the end waits for it.
SILENT_CARDS_END_S = 12.0
TOLD_EVERY_S = 0.5
LOOK_EVERY_S = 0.25
LEAST_QUIET_LOOKS = 4


class Plan(Struct, frozen=True, kw_only=True):
    """What to run, for how long, against what."""

    folder: Path
    seconds: float = 30
    seed: int = 1
    clients: int = 12
    workers: int = 2
    quiet_within_s: float = 90
    command: Sequence[str] = UP
    acts: Sequence[str] = ()  # of the nemesis; empty: all it can do
    windows: Sequence[str] = ()  # in which it kills; empty: all there are
    settings: Mapping[str, str] = {}


class Outcome(Struct, kw_only=True):
    """What was done and what was found."""

    seed: int
    took_s: float = 0.0
    asked: Mapping[str, int] = {}
    answered: Mapping[str, int] = {}
    acts: Mapping[str, int] = {}
    windows: Mapping[str, int] = {}  # kills by where
    orders: Mapping[str, int] = {}  # by status
    events: int = 0
    charges: int = 0
    invariants: int = 0
    anomalies: Sequence[Anomaly] = ()

    @property
    def kills(self) -> int:
        """All of them."""
        return sum(self.windows.values())

    @property
    def kills_in_windows(self) -> int:
        """Those between two steps that a crash must not part."""
        return self.kills - self.windows.get("anywhere", 0)


Tell = Callable[[str, Recorder, float], None]


async def run(plan: Plan, tell: Tell) -> Outcome:
    """Run the plan. Raises `NotReady` where the platform does not come up at all."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    settings = {"workers": str(plan.workers), **plan.settings}
    installation = Installation(plan.folder, plan.command, settings)
    recorder = Recorder(plan.folder / "history.jsonl", seed=plan.seed)
    began = time.monotonic()
    # Every request its own connection: one to a killed process must not be used again.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            tell("starting a platform", recorder, 0)
            await installation.start(session)
            crowd = Crowd(session, installation.url, installation.admin_key, recorder)
            await fill_shelves(crowd)
            late = await everybody(plan, installation, crowd, tell)
            recorder.close()
            tell("judging", recorder, 1)
            outcome = await judged(plan, installation)
        finally:
            await installation.stop()
    found = [*late, *outcome.anomalies, *logged(installation)]
    outcome.anomalies = found
    outcome.took_s = time.monotonic() - began
    outcome.asked, outcome.answered = dict(recorder.asked), dict(recorder.answered)
    outcome.acts, outcome.windows = dict(recorder.acts), dict(recorder.windows)
    return outcome


async def fill_shelves(crowd: Crowd) -> None:
    """Products, and units of each. Raises `NotReady`."""
    for sku in (*SPREAD, *HOT):
        product = {
            "title": sku,
            "variants": [{"sku": sku, "price": {"amount": PRICE, "currency": "GBP"}}],
        }
        status, text = await crowd.ask("product", "PUT", f"/v1/products/{sku}", product)
        if status not in (200, 201):
            raise NotReady(f"Product {sku} was answered {status} {text[:200]}")
        units = {"on_hand": SPREAD_UNITS if sku in SPREAD else HOT_UNITS}
        status, text = await crowd.ask("count", "PUT", f"/v1/stock/{sku}", units)
        if status not in (200, 202):
            raise NotReady(f"The stock of {sku} was answered {status} {text[:200]}")


async def everybody(
    plan: Plan, installation: Installation, crowd: Crowd, tell: Tell
) -> list[Anomaly]:
    """Clients and the nemesis for the time of the plan, then only clients, until all is answered
    and quiet; what did not come to rest in time is an anomaly.
    """
    dsn = database_url(read_settings(installation.environment))
    nemesis = Nemesis(
        installation,
        crowd.session,
        crowd.recorder,
        dsn=dsn,
        seed=plan.seed,
        acts=plan.acts,
        windows=plan.windows,
    )
    clients = [Client(crowd, number, plan.seed) for number in range(plan.clients)]
    follower = Follower(crowd)
    living = [
        *(asyncio.create_task(client.live()) for client in clients),
        asyncio.create_task(Storekeeper(crowd, plan.seed).live()),
        asyncio.create_task(follower.live()),
    ]
    killing = asyncio.create_task(nemesis.run())
    try:
        await passing_time(plan, crowd, [killing, *living], tell)
        nemesis.over.set()
        await killing
        tell("waiting for the last answers", crowd.recorder, 1)
        await installation.until_ready(crowd.session)
        crowd.over.set()
        await asyncio.gather(*living)
    finally:
        for task in (killing, *living):
            task.cancel()
        await asyncio.gather(killing, *living, return_exceptions=True)
    await last_answers(clients, plan.quiet_within_s)
    tell("waiting until all is quiet", crowd.recorder, 1)
    moving = await until_quiet(dsn, plan.quiet_within_s)
    await follower.to_the_end(plan.quiet_within_s)
    return [] if not moving else [Anomaly("does not come to rest", "the platform", moving)]


async def passing_time(
    plan: Plan, crowd: Crowd, tasks: Sequence[asyncio.Task[None]], tell: Tell
) -> None:
    """Wait for the end of the plan's time; a client or nemesis that failed ends it at once."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < plan.seconds:
        tell("clients and nemesis at work", crowd.recorder, passed / plan.seconds)
        crowd.silent_cards = passed < plan.seconds - SILENT_CARDS_END_S
        await asyncio.wait(tasks, timeout=TOLD_EVERY_S, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()


async def last_answers(clients: Sequence[Client], within_s: float) -> None:
    """Ask for everything that is open, until it is answered."""

    async def one_by_one(client: Client, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            await client.crowd.until_answered(wish, within_s / 3)

    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(one_by_one(client, client.open) for client in clients))


async def until_quiet(dsn: str, within_s: float) -> str:
    """Wait until nothing moves any more; what does, where it never ends."""
    until = time.monotonic() + within_s
    quiet, moving = 0, ""
    while quiet < LEAST_QUIET_LOOKS:
        if time.monotonic() > until:
            return moving
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            quiet, moving = 0, repr(error)
            continue
        try:
            now = await under_way(connection)
        finally:
            await connection.close()
        quiet, moving = (quiet + 1, "") if now.quiet else (0, str(now))
    return ""


async def judged(plan: Plan, installation: Installation) -> Outcome:
    """The judge's verdict, and that of every invariant of `tradewind check invariants`."""
    dsn = database_url(read_settings(installation.environment))
    url = simulator_url(installation.home, None)
    history = await asyncio.to_thread(evidence.read_history, plan.folder / "history.jsonl")
    seen = await evidence.collect(dsn, url)
    anomalies = await asyncio.to_thread(checker.judge, history, seen)
    report = await prove_all(dsn, url, wait_s=0)
    for one in report.proved:
        for offence in one.proof.first:
            anomalies.append(Anomaly(f"invariant: {one.name}", offence.id, offence.detail))
    statuses: dict[str, int] = {}
    for status, _ in seen.orders.values():
        statuses[status] = statuses.get(status, 0) + 1
    return Outcome(
        seed=plan.seed,
        orders=statuses,
        events=len(seen.log),
        charges=len(seen.charges),
        invariants=sum(one.proof.holds for one in report.proved),
        anomalies=anomalies,
    )


def logged(installation: Installation) -> list[Anomaly]:
    """Kills are no reason for an error or a traceback in the log."""
    return [Anomaly("error in the log", "the platform", line) for line in installation.errors()]
