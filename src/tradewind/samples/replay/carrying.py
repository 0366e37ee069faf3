"""Carries a plan out through the public HTTP API, as fast as the platform takes it.

Idempotent and resumable without a file of its own (see ``requests``): stop it, or everything, and
run it again. Actions *start* in the order of time, at most `concurrency` at once. What belongs to
one order is done one after the other, and no day begins before the last but one is done.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from tradewind.samples.client import Client, Reply
from tradewind.samples.history import (
    DAYS_APART,
    Action,
    Cancel,
    Credit,
    Move,
    Place,
    Plan,
    Return,
    Ship,
)
from tradewind.samples.replay import requests
from tradewind.samples.replay.outcomes import SHIPPED, Outcome, Outcomes, of_order, of_reply
from tradewind.samples.replay.pulse import Pulse

CONCURRENCY = 32
PREFER = "wait=30"
# An order is decided within 15 minutes whatever happens; normally within milliseconds.
DECIDED_WITHIN_S = 900
# Capture follows a confirmation within 60 s; twice that, and something is wrong.
CAPTURED_WITHIN_S = 120
POLL_S_MIN = 0.05
POLL_S_MAX = 1.0
TAKEN = "external_id_taken"


async def replay(
    client: Client, plan: Plan, pulse: Pulse, *, concurrency: int = CONCURRENCY
) -> Outcomes:
    """Carry out all actions. Raises `ShopIsGone` or `AccessDenied`; run it again to go on."""
    outcomes = Outcomes()
    known = Known(client)
    days = Days(plan)
    waiting = iter(plan.actions)
    loop = asyncio.get_running_loop()
    last: dict[str, asyncio.Future[None]] = {}  # of each order, the action that was begun last

    async def work() -> None:
        for action in waiting:
            before, mine = last.get(action.order), loop.create_future()
            if action.order:
                last[action.order] = mine
            # Both were begun before it, so others are at work on them.
            await days.begun(action.day)
            if before is not None:
                await before
            outcome = await carry_out(client, action, outcomes, known, pulse)
            outcomes.put(action, outcome)
            known_already = outcome.replayed or outcome.found
            pulse.action_done(refused=outcome.why_not, known_already=known_already)
            days.done(action.day)
            mine.set_result(None)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as errors:
        # One worker's reason is every worker's: the first is the one to tell. (Not `except*`: what
        # is raised inside it comes out as a group again in early releases of Python 3.11.)
        raise errors.exceptions[0] from None
    return outcomes


class Days:
    """Which trading days may begin: those whose last but one, and all before it, are done."""

    def __init__(self, plan: Plan) -> None:
        self._number = {day: number for number, day in enumerate(plan.days)}
        self._left = [0] * len(plan.days)
        for action in plan.actions:
            self._left[self._number[action.day]] += 1
        self._finished = 0  # days that are done, all before them included
        self._moved = asyncio.Event()

    async def begun(self, day: str) -> None:
        """Return once actions of a day may begin."""
        while self._number[day] >= self._finished + DAYS_APART:
            await self._moved.wait()

    def done(self, day: str) -> None:
        """One action less of a day is left."""
        self._left[self._number[day]] -= 1
        before = self._finished
        while self._finished < len(self._left) and self._left[self._finished] == 0:
            self._finished += 1
        if self._finished > before:
            self._moved.set()
            self._moved = asyncio.Event()


class Known:
    """Orders placed by an earlier run whose keys the server has forgotten, by `external_id`.

    Read once, when the first of them is met.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._orders: asyncio.Future[dict[str, dict[str, Any]]] | None = None

    async def find(self, name: str) -> Mapping[str, Any] | None:
        """The order of an invoice, or None where it is somebody else's."""
        if self._orders is None:
            self._orders = asyncio.ensure_future(self._read())
        return (await self._orders).get(name)

    async def _read(self) -> dict[str, dict[str, Any]]:
        wanted = ("id", "status", "payment", "rejection")
        return {
            order["external_id"]: {name: order.get(name) for name in wanted}
            async for order in self._client.orders()
            if order.get("external_id")
        }


async def carry_out(
    client: Client, action: Action, outcomes: Outcomes, known: Known, pulse: Pulse
) -> Outcome:
    """Do one thing, where what it follows was done."""
    match action:
        case Place():
            begun_at = time.monotonic()
            placed = await place(client, action, known)
            pulse.order_answered(time.monotonic() - begun_at)
            return placed
        case Credit():
            return told_once(await ask(client, requests.crediting(action)))
        case Move():
            return told_once(await ask(client, requests.moving(action)))
    order = outcomes.order(action.order)
    if not order.done:
        return Outcome(done=False, why_not=f"its order was refused: {order.why_not}")
    match action:
        case Cancel():
            return await cancel(client, action, order)
        case Ship():
            return await ship(client, action, order)
        case Return():
            shipped = outcomes.by_name["ship", action.order]
            if not shipped.done:
                return Outcome(done=False, why_not=f"its order was not shipped: {shipped.why_not}")
            return told_once(await ask(client, requests.returning(action, order.id)))


async def ask(client: Client, asked: requests.Asked, prefer: str = "") -> Reply:
    """Send a request, as often as it takes."""
    return await client.post(asked.path, asked.body, idempotency_key=asked.key, prefer=prefer)


def told_once(reply: Reply) -> Outcome:
    """What is known by its `external_id` was done by an earlier run, whose key is forgotten."""
    return Outcome(done=True, found=True) if reply.code == TAKEN else of_reply(reply)


async def place(client: Client, action: Place, known: Known) -> Outcome:
    """Place one order and wait for its decision."""
    reply = await ask(client, requests.placing(action), PREFER)
    body: Mapping[str, Any] = reply.body if isinstance(reply.body, dict) else {}
    found = await known.find(action.name) if reply.code == TAKEN else None
    body = found or body
    if "id" not in body:
        order_id = str(body.get("order_id", ""))
        return Outcome(done=False, why_not=reply.code, id=order_id, replayed=reply.replayed)
    if body.get("status") == "placed":
        body = await decided(client, str(body["id"]))
    return of_order(body, replayed=reply.replayed, found=found is not None)


async def decided(client: Client, order_id: str) -> Mapping[str, Any]:
    """The order once it is decided, or as it stands when we stop waiting."""
    give_up_at = time.monotonic() + DECIDED_WITHIN_S
    delay_s = POLL_S_MIN
    while True:
        order = await client.get(f"/v1/orders/{order_id}")
        if order.get("status") != "placed" or time.monotonic() > give_up_at:
            assert isinstance(order, dict)
            return order
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, POLL_S_MAX)


async def cancel(client: Client, action: Cancel, order: Outcome) -> Outcome:
    """Call an order off."""
    reply = await ask(client, requests.cancelling(action, order.id))
    if not reply.ok and await status_of(client, order.id) == "cancelled":
        return Outcome(done=True, found=True)
    return of_reply(reply)


async def ship(client: Client, action: Ship, order: Outcome) -> Outcome:
    """Send an order out. It can go once its money is captured, which nearly always is so by now.

    A refusal is kept under its key, so the second attempt, after that, has another.
    """
    if order.status in SHIPPED:
        return Outcome(done=True, found=True)
    reply = await ask(client, requests.shipping(action, order.id, again=False))
    if not reply.ok and await is_paid(client, order.id):
        reply = await ask(client, requests.shipping(action, order.id, again=True))
    if not reply.ok and await status_of(client, order.id) in SHIPPED:
        return Outcome(done=True, found=True)
    return of_reply(reply)


async def status_of(client: Client, order_id: str) -> str:
    """How an order stands."""
    return str((await client.get(f"/v1/orders/{order_id}"))["status"])


async def is_paid(client: Client, order_id: str) -> bool:
    """Wait until the order knows that its money was captured; false where it will not be."""
    give_up_at = time.monotonic() + CAPTURED_WITHIN_S
    delay_s = POLL_S_MIN
    while True:
        order = await client.get(f"/v1/orders/{order_id}")
        if order["payment"]["status"] == "captured":
            return True
        if order["status"] != "confirmed" or time.monotonic() > give_up_at:
            return False
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, POLL_S_MAX)
