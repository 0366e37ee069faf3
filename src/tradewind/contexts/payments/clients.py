"""Calls the provider: takes committed claims, sends them in batches, hands the answers back.

Whatever happens here may be lost: every call has a claim in the database that runs out, and the
sweep takes it up from there. So this file never retries by itself and keeps nothing that matters.
"""

import asyncio
import importlib
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct

from tradewind.contexts.payments.commands import (
    OperationName,
    Outcome,
    ProviderCall,
    ProviderOutcome,
    RecordOutcomes,
)
from tradewind.contexts.payments.problems import ProviderUnavailable
from tradewind.contexts.payments.tables import ChargeList, ChargeView
from tradewind.kernel.money import wire
from tradewind.kernel.problems import Problem
from tradewind.platform import faults
from tradewind.platform.node import Node
from tradewind.platform.telemetry import logs
from tradewind.platform.telemetry.metrics import CALL_SECONDS

if TYPE_CHECKING:
    import aiohttp  # half a second to load: `warm_up` does it once the process serves

logger = logs.get(__name__)

PARTY = "payments"
# The provider takes 500. What is decided together stays together on its way to the next stage: a
# batch of authorisations, and the captures of the one before it.
BATCH_MAX = 160
# Batches on their way at once. A batch that still waits for a slow card after SLOT_S gives its
# slot back: one dead card must not hold up the living.
SLOTS = 4
SLOT_S = 0.1
# ... up to this many open requests: 10,240 cards that never answer.
REQUESTS_MAX = 64
# Outcomes in one command: those of one answer. At four to seven rows each, a unit of work stays
# below a thousand.
OUTCOMES_MAX = 160
# While the provider cannot be reached, one request tries after a pause that doubles.
PAUSE_S_MIN = 0.2
PAUSE_S_MAX = 2.0


class ProviderUnreachable(Exception):
    """No connection: nothing was sent."""


class Result(Struct, frozen=True):
    """What the provider says about a key. `unknown`: it has never seen it."""

    key: str
    status: Literal["succeeded", "refused", "error", "unknown"]
    reason: str = ""


class PaymentProvider(Protocol):
    """The port to whoever moves the money. Idempotent by key: one key takes effect once."""

    def submit(self, calls: Sequence[ProviderCall]) -> AsyncGenerator[list[Result]]:
        """Ask for operations; results come as they are ready, some perhaps never.

        Raises `ProviderUnreachable` when nothing was sent; ends early when the rest is in doubt.
        """
        ...

    async def look_up(self, keys: Sequence[str]) -> list[Result]:
        """What became of these keys. Raises `ProviderUnreachable`."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Request(Struct, frozen=True):
    """An operation as the simulator reads it."""

    key: str
    operation: OperationName
    amount_minor: int
    currency: str
    token: str
    reference: str
    order_id: str


class Charge(Struct, frozen=True):
    """An operation as the simulator recorded it."""

    key: str
    operation: OperationName
    amount_minor: int
    currency: str
    at: str


class Listing(Struct, frozen=True):
    """A list of results."""

    items: list[Result]


class Record(Struct, frozen=True):
    """A list of recorded operations."""

    items: list[Charge]


ENCODER = msgspec.json.Encoder()
RESULT = msgspec.json.Decoder(Result)
LISTING = msgspec.json.Decoder(Listing)
RECORD = msgspec.json.Decoder(Record)


class SimulatedProvider:
    """The adapter to the simulator: one kept-alive session, NDJSON answers."""

    def __init__(self, url: str | None) -> None:
        self.url = (url or "").rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> "aiohttp.ClientSession":
        """The session, opened when it is first needed, inside the loop."""
        import aiohttp

        if not self.url:
            raise ProviderUnreachable("TRADEWIND_SIMULATOR_URL is not set")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=2 * REQUESTS_MAX),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=1.0),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session

    async def submit(self, calls: Sequence[ProviderCall]) -> AsyncGenerator[list[Result]]:
        """See `PaymentProvider`; the caller bounds the time."""
        import aiohttp

        body = ENCODER.encode(
            [
                Request(
                    call.key,
                    call.operation,
                    call.amount_minor,
                    call.currency,
                    call.token,
                    call.reference,
                    call.order_id,
                )
                for call in calls
            ]
        )
        try:
            async with self.session().post(
                f"{self.url}/v1/operations",
                data=body,
                headers={"Content-Type": "application/json"},
            ) as response:
                if response.status != 200:
                    text = await response.text()
                    logger.warning("provider.failed", status=response.status, detail=text[:200])
                    return
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if lines:
                        yield [RESULT.decode(line) for line in lines]
        except aiohttp.ClientConnectorError as error:
            raise ProviderUnreachable(str(error)) from error
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError) as error:
            # Sent, and then something broke: whatever is not answered is in doubt.
            logger.warning("provider.broke_off", error=repr(error)[:200])

    async def look_up(self, keys: Sequence[str]) -> list[Result]:
        """See `PaymentProvider`."""
        listing = await self._get("/v1/operations", [("key", key) for key in keys])
        return LISTING.decode(listing).items

    async def charges(self, order_id: str) -> list[Charge]:
        """Everything that took effect for an order, by the simulator's own record."""
        return RECORD.decode(await self._get("/v1/charges", [("order_id", order_id)])).items

    async def _get(self, path: str, query: list[tuple[str, str]]) -> bytes:
        import aiohttp

        try:
            async with self.session().get(self.url + path, params=query) as response:
                response.raise_for_status()
                return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderUnreachable(str(error)) from error

    async def close(self) -> None:
        """Close the session, if there is one."""
        if self._session is not None:
            await self._session.close()


def warm_up() -> None:
    """Load the HTTP client, in a thread: the first order need not wait for it."""
    importlib.import_module("aiohttp")


def provider_of(node: Node) -> PaymentProvider:
    """The provider that the settings name. There is one adapter so far: the simulator."""
    return SimulatedProvider(node.settings.simulator_url)


async def read_charges(node: Node, order_id: str) -> ChargeList:
    """The simulator's own record of an order. Raises `ProviderUnavailable`."""
    provider = SimulatedProvider(node.settings.simulator_url)
    try:
        async with asyncio.timeout(node.settings.authorise_attempt_timeout_s):
            charges = await provider.charges(order_id)
    except (ProviderUnreachable, TimeoutError):
        raise ProviderUnavailable("The payment simulator does not answer. Try again.") from None
    finally:
        await provider.close()
    return ChargeList(
        items=[
            ChargeView(
                key=charge.key,
                operation=charge.operation,
                amount=wire(charge.amount_minor, charge.currency),
                at=charge.at,
            )
            for charge in charges
        ]
    )


CALLERS: WeakKeyDictionary[Node, "Caller"] = WeakKeyDictionary()


async def send(node: Node, calls: Sequence[ProviderCall]) -> None:
    """Send calls on their way. The first one of a process stays, as the loop that sends them all.

    The platform ends it when the process stops; what is under way then is found by its claim.
    """
    faults.passing("call-committed")
    caller = CALLERS.get(node)
    if caller is not None:
        caller.take(calls)
        return
    CALLERS[node] = caller = Caller(node, provider_of(node))
    caller.take(calls)
    try:
        await caller.run()
    finally:
        del CALLERS[node]
        await caller.close()


class Caller:
    """The calls of one process: what waits to go out, and what is on its way."""

    def __init__(self, node: Node, provider: PaymentProvider) -> None:
        self.node = node
        self.provider = provider
        self._waiting: deque[tuple[float, ProviderCall]] = deque()  # (taken at, call)
        self._late: list[ProviderCall] = []
        self._bell = asyncio.Event()
        self._slots = SLOTS
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause_s = 0.0  # above 0: the provider could not be reached last time
        self._closed_until = 0.0

    def take(self, calls: Iterable[ProviderCall]) -> None:
        """Queue calls, each after its wait."""
        loop = asyncio.get_running_loop()
        for call in calls:
            if call.wait_s > 0:
                loop.call_later(call.wait_s, self._queue, call)
            else:
                self._queue(call)

    def _queue(self, call: ProviderCall) -> None:
        self._waiting.append((time.monotonic(), call))
        self._bell.set()

    async def run(self) -> None:
        """Send what waits, for ever: together what came together."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            pause_s = self._closed_until - time.monotonic()
            if pause_s > 0:
                asyncio.get_running_loop().call_later(pause_s, self._bell.set)
                continue
            # One probe while the provider was last seen dead, all slots otherwise.
            slots = min(self._slots, 1 - len(self._tasks)) if self._pause_s else self._slots
            for _ in range(min(slots, REQUESTS_MAX - len(self._tasks))):
                batch = self._next_batch()
                if batch:
                    self._slots -= 1
                    self._spawn(self._send_batch(batch, Slot(self)))
            if self._late:
                # They waited here for all of their time; it is certain that they were not sent.
                late, self._late = self._late, []
                self._spawn(self._report(late, {}, "unreached"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._bell.set()

    def _next_batch(self) -> list[ProviderCall]:
        """The oldest calls, as long as they are of one kind and have the same time."""
        now = time.monotonic()
        batch: list[ProviderCall] = []
        while self._waiting and len(batch) < BATCH_MAX:
            taken_at, call = self._waiting[0]
            if batch and (call.look_up, call.timeout_s) != (batch[0].look_up, batch[0].timeout_s):
                break
            self._waiting.popleft()
            (batch if now - taken_at < call.timeout_s else self._late).append(call)
        return batch

    async def _send_batch(self, calls: list[ProviderCall], slot: "Slot") -> None:
        asyncio.get_running_loop().call_later(SLOT_S, slot.give_back)
        try:
            await (self._look_up(calls) if calls[0].look_up else self._ask(calls))
            self._pause_s = 0.0
        except ProviderUnreachable as error:
            self._pause_s = min(PAUSE_S_MAX, max(PAUSE_S_MIN, 2 * self._pause_s))
            self._closed_until = time.monotonic() + self._pause_s
            logger.warning("provider.unreachable", calls=len(calls), error=str(error)[:200])
            await self._report(calls, {}, "unreached")
        finally:
            slot.give_back()

    async def _ask(self, calls: list[ProviderCall]) -> None:
        """Ask for operations. What is not answered in time is in doubt."""
        open_calls = {call.key: call for call in calls}
        began = time.monotonic()
        reports: list[asyncio.Task[None]] = []
        try:
            async with (
                asyncio.timeout(calls[0].timeout_s),
                aclosing(self.provider.submit(calls)) as answers,
            ):
                async for results in answers:
                    done = {r.key: r for r in results if r.key in open_calls}
                    answered = [open_calls.pop(key) for key in done]
                    reports.append(
                        asyncio.create_task(self._report(answered, done, "no_answer", began))
                    )
        except TimeoutError:
            pass
        finally:
            if reports:
                await asyncio.gather(*reports)
        if open_calls:
            lost = list(open_calls.values())
            logger.warning("provider.no_answer", keys=[call.key for call in lost][:20])
            await self._report(lost, {}, "no_answer", began)

    async def _look_up(self, calls: list[ProviderCall]) -> None:
        """Look keys up that are in doubt."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(calls[0].timeout_s):
                results = await self.provider.look_up([call.key for call in calls])
        except TimeoutError:
            results = []
        found = {result.key: result for result in results}
        for call in calls:
            result = found.get(call.key)
            logger.info(
                "provider.looked_up",
                key=call.key,
                order_id=call.order_id,
                found=None if result is None else result.status,
            )
        await self._report(calls, found, "no_answer", began)

    async def _report(
        self,
        calls: Sequence[ProviderCall],
        results: dict[str, Result],
        otherwise: Outcome,
        began: float | None = None,
    ) -> None:
        """Hand outcomes in; calls without a result have the outcome `otherwise`."""
        if results:
            faults.passing("provider-answered")
        outcomes = [outcome_of(call, results.get(call.key), otherwise) for call in calls]
        if began is not None:
            observe(calls, outcomes, time.monotonic() - began)
        for start in range(0, len(outcomes), OUTCOMES_MAX):
            await self._hand_in(outcomes[start : start + OUTCOMES_MAX])

    async def _hand_in(self, outcomes: Sequence[ProviderOutcome]) -> None:
        """One command for all; where that fails, one for each: a bad one must not sink the rest."""
        try:
            await self.node.submit(RecordOutcomes(outcomes=tuple(outcomes)))
        except Problem as problem:
            # Too busy, or no database: the claims run out and the keys are looked up.
            logger.warning("provider.outcomes_lost", count=len(outcomes), code=problem.code)
        except Exception:
            if len(outcomes) == 1:
                logger.exception("provider.outcome_failed", key=outcomes[0].key)
                return
            for outcome in outcomes:
                await self._hand_in([outcome])

    async def close(self) -> None:
        """Stop at once and hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.provider.close()


class Slot:
    """A place among the batches on their way, given back once."""

    def __init__(self, caller: Caller) -> None:
        self._caller: Caller | None = caller

    def give_back(self) -> None:
        """Let the next batch go."""
        if self._caller is not None:
            self._caller._slots += 1
            self._caller._bell.set()
            self._caller = None


def outcome_of(call: ProviderCall, result: Result | None, otherwise: Outcome) -> ProviderOutcome:
    """What came of a call."""
    outcome = otherwise
    if result is not None:
        if result.status in ("succeeded", "refused"):
            outcome = result.status
        elif call.look_up:
            outcome = "not_found"
        else:
            outcome = "failed"
    return ProviderOutcome(
        payment_id=call.payment_id,
        key=call.key,
        claim=call.claim,
        outcome=outcome,
        reason=result.reason if result is not None else "",
    )


def observe(
    calls: Sequence[ProviderCall], outcomes: Sequence[ProviderOutcome], taken_s: float
) -> None:
    """Count a burst of answers, one measurement for each kind and outcome in it."""
    kinds: dict[tuple[str, str], int] = defaultdict(int)
    for call, came in zip(calls, outcomes, strict=True):
        kinds["look_up" if call.look_up else call.operation, came.outcome] += 1
    for (operation, outcome), count in kinds.items():
        histogram = CALL_SECONDS.labels(PARTY, operation, outcome)
        for _ in range(count):
            histogram.observe(taken_s)
