"""Carries a plan out through the public HTTP API: orders, cancellations, refunds.

Idempotent and resumable without a file of its own: the Idempotency-Key of every request is made
from the old invoice's number, so a second run is told what the first one did. Should the server
have forgotten the keys (it keeps them a day at least), the invoice as `external_id` still finds the
order. Actions *start* in the order of time, at most `concurrency` at once; what gives back waits
for its order.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tradewind.kernel.money import format_e4, format_minor
from tradewind.samples.client import PAGE_ITEMS_MAX, Client, Reply
from tradewind.samples.history import CARRIAGE, CURRENCY, Action, GiveBack, Part, Place

CONCURRENCY = 32
CHANNEL = "web"
CARD = "tok_ok"
PREFER = "wait=30"
CANCEL_REASON = "The customer cancelled the order."
# An order is decided within 15 minutes whatever happens; normally within milliseconds.
DECIDED_WITHIN_S = 900
# Capture follows a confirmation within 60 s; twice that, and something is wrong.
CAPTURED_WITHIN_S = 120
POLL_S_MIN = 0.05
POLL_S_MAX = 1.0
RATE_WINDOW_S = 5.0
LATENCIES_KEPT = 1_024

UNDECIDED = "undecided"
CONFIRMED = frozenset(("confirmed", "cancelled", "fulfilled", "returned"))


class Placed(Struct, frozen=True, kw_only=True):
    """What became of an order: `confirmed`, or not, with the code of the refusal."""

    confirmed: bool
    code: str = ""
    order_id: str = ""
    payment_id: str = ""
    replayed: bool = False
    found: bool = False  # placed by an earlier run, whose keys the server has forgotten


class GivenBack(Struct, frozen=True, kw_only=True):
    """What became of a cancellation: done, or not, and why not."""

    done: bool
    why_not: str = ""
    replayed: bool = False


class Outcomes(Struct):
    """Everything the server answered, by the place in the plan's list of actions."""

    placed: dict[str, Placed]  # by invoice
    given_back: dict[tuple[str, str], GivenBack]  # by (cancellation, invoice)


class Pulse:
    """Live figures of a running replay, for whoever shows them."""

    def __init__(self, actions_count: int) -> None:
        self.actions_count = actions_count
        self.done = 0
        self.orders = 0
        self.replayed = 0
        self.refused: Counter[str] = Counter()
        self.started_at = time.monotonic()
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._finished_at: deque[float] = deque()

    def order_done(self, placed: Placed, seconds: float) -> None:
        """Count an order that was answered."""
        now = time.monotonic()
        self.orders += 1
        self.replayed += placed.replayed
        if not placed.confirmed:
            self.refused[placed.code] += 1
        self._latencies_s.append(seconds)
        self._finished_at.append(now)
        while self._finished_at[0] < now - RATE_WINDOW_S:
            self._finished_at.popleft()

    @property
    def orders_per_s(self) -> float:
        """Orders answered per second, of late."""
        now = time.monotonic()
        recent = sum(1 for at in self._finished_at if at >= now - RATE_WINDOW_S)
        return recent / max(min(RATE_WINDOW_S, now - self.started_at), 0.001)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile of the last answers' times."""
        return self.percentile_ms(95)

    def percentile_ms(self, percent: int) -> float:
        """A percentile of the last answers' times."""
        ordered = sorted(self._latencies_s)
        return ordered[len(ordered) * percent // 100] * 1000 if ordered else 0.0

    @property
    def age_s(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started_at


async def replay(
    client: Client, actions: Sequence[Action], pulse: Pulse, *, concurrency: int = CONCURRENCY
) -> Outcomes:
    """Carry out all actions. Raises `ShopIsGone` or `AccessDenied`; run it again to go on."""
    loop = asyncio.get_running_loop()
    answers: dict[str, asyncio.Future[Placed]] = {
        action.invoice: loop.create_future() for action in actions if isinstance(action, Place)
    }
    outcomes = Outcomes(placed={}, given_back={})
    waiting = iter(actions)
    known = Known(client)

    async def work() -> None:
        for action in waiting:
            if isinstance(action, Place):
                begun_at = time.monotonic()
                placed = await place(client, action, known)
                pulse.order_done(placed, time.monotonic() - begun_at)
                outcomes.placed[action.invoice] = placed
                answers[action.invoice].set_result(placed)
            else:
                # Its order was started before it, so some worker is about to answer.
                order = await answers[action.order]
                done = await give_back(client, action, order)
                outcomes.given_back[action.invoice, action.order] = done
            pulse.done += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as errors:
        # One worker's reason is every worker's: the first is the one to tell. (Not `except*`: what
        # is raised inside it comes out as a group again in early releases of Python 3.11.)
        raise errors.exceptions[0] from None
    return outcomes


class Known:
    """Orders placed by an earlier run whose keys the server has forgotten, by `external_id`.

    Read once, when the first of them is met.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._orders: asyncio.Future[dict[str, dict[str, Any]]] | None = None

    async def find(self, invoice: str) -> Mapping[str, Any] | None:
        """The order of an invoice, or None where it is somebody else's."""
        if self._orders is None:
            self._orders = asyncio.ensure_future(self._read())
        return (await self._orders).get(invoice)

    async def _read(self) -> dict[str, dict[str, Any]]:
        return {
            order["external_id"]: order
            async for order in self._client.orders()
            if order.get("external_id")
        }


def order_body(action: Place) -> dict[str, Any]:
    """The old invoice as the body of POST /v1/orders, with the fields of an import."""
    body: dict[str, Any] = {
        "external_id": action.invoice,
        "customer_ref": action.customer_ref,
        "currency": CURRENCY,
        "lines": [
            {
                "sku": part.line.sku,
                "quantity": part.units,
                "unit_price": {
                    "amount": format_e4(part.line.unit_price_e4, CURRENCY),
                    "currency": CURRENCY,
                },
            }
            for part in action.lines
        ],
        "shipping_address": {"country": action.country},
        "payment": {"token": CARD},
        "placed_at": action.at.isoformat().replace("+00:00", "Z"),
        "channel": CHANNEL,
    }
    if action.fees:
        body["fees"] = [fee_body(part) for part in action.fees]
    return body


def fee_body(part: Part) -> dict[str, Any]:
    """A line of carriage as a fee."""
    return {"code": CARRIAGE[part.line.sku], "amount": wire_minor(part.total_minor)}


def wire_minor(amount_minor: int) -> dict[str, str]:
    """Pence as money on the wire."""
    return {"amount": format_minor(amount_minor, CURRENCY), "currency": CURRENCY}


async def place(client: Client, action: Place, known: Known) -> Placed:
    """Place one order and wait for its decision."""
    reply = await client.post(
        "/v1/orders",
        order_body(action),
        idempotency_key=f"replay-{action.invoice}",
        prefer=PREFER,
    )
    body: Mapping[str, Any] = reply.body if isinstance(reply.body, dict) else {}
    found = None
    if reply.code == "external_id_taken":
        found = await known.find(action.invoice)
        body = found or body
    if "id" not in body:
        return Placed(
            confirmed=False,
            code=reply.code,
            order_id=str(body.get("order_id", "")),
            replayed=reply.replayed,
        )
    if body.get("status") == "placed":
        body = await decided(client, str(body["id"]))
    return read_order(body, replayed=reply.replayed, found=found is not None)


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


def read_order(body: Mapping[str, Any], *, replayed: bool, found: bool) -> Placed:
    """An order as it was answered."""
    status = str(body.get("status"))
    code = "" if status in CONFIRMED else status
    if status == "rejected":
        code = str((body.get("rejection") or {}).get("code", "rejected"))
    elif status == "placed":
        code = UNDECIDED
    return Placed(
        confirmed=status in CONFIRMED,
        code=code,
        order_id=str(body.get("id", "")),
        payment_id=str((body.get("payment") or {}).get("id", "")),
        replayed=replayed,
        found=found,
    )


async def give_back(client: Client, action: GiveBack, order: Placed) -> GivenBack:
    """Cancel the order, or refund a part of what was captured."""
    if not order.confirmed:
        return GivenBack(done=False, why_not=f"its order was refused: {order.code}")
    if order.found and await given_back_before(client, action, order):
        return GivenBack(done=True)
    key = f"replay-{action.invoice}-{action.order}"
    if action.whole:
        reply = await client.post(
            f"/v1/orders/{order.order_id}/cancel", {"reason": CANCEL_REASON}, idempotency_key=key
        )
    else:
        # A refusal is kept under its key, so ask for nothing before there is money to give back.
        if not await captured(client, order.payment_id):
            return GivenBack(done=False, why_not="its payment was not captured")
        reply = await client.post(
            f"/v1/payments/{order.payment_id}/refunds",
            {"amount": wire_minor(action.amount_minor), "reason": refund_reason(action)},
            idempotency_key=key,
        )
    return read_give_back(reply)


def refund_reason(action: GiveBack) -> str:
    """Why money goes back; names the cancellation, so that the refund can be found by it."""
    return f"Goods came back: {action.invoice}."


async def given_back_before(client: Client, action: GiveBack, order: Placed) -> bool:
    """Whether an earlier run gave this back, asked of the platform: no key remembers it."""
    if action.whole:
        status = (await client.get(f"/v1/orders/{order.order_id}"))["status"]
        return bool(status == "cancelled")
    path = f"/v1/payments/{order.payment_id}/refunds"
    refunds = (await client.get(path, limit=str(PAGE_ITEMS_MAX)))["items"]
    reason = refund_reason(action)
    return any(r["reason"] == reason and r["status"] != "refused" for r in refunds)


def read_give_back(reply: Reply) -> GivenBack:
    """The answer to a cancel or a refund; 202 means that the provider has the last word."""
    if reply.ok:
        return GivenBack(done=True, replayed=reply.replayed)
    return GivenBack(done=False, why_not=f"refused: {reply.code}", replayed=reply.replayed)


async def captured(client: Client, payment_id: str) -> bool:
    """Wait until a payment has been captured; false where it will not be."""
    give_up_at = time.monotonic() + CAPTURED_WITHIN_S
    delay_s = POLL_S_MIN
    while True:
        status = (await client.get(f"/v1/payments/{payment_id}"))["status"]
        if status in ("captured", "partially_refunded", "refunded"):
            return True
        if status in ("voided", "declined", "failed") or time.monotonic() > give_up_at:
            return False
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, POLL_S_MAX)
