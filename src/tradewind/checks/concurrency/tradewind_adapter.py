"""The races on Tradewind: its public HTTP API, and nothing else of it."""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from tradewind.checks.concurrency.adapter import (
    AdapterBroken,
    Answer,
    Capability,
    MoneyState,
    NewOrder,
    OrderState,
    StockState,
)

CURRENCY = "GBP"
CARD = "tok_ok"
# Ready to wait for a decision: longer than a provider's whole time-out, on a loaded machine.
PATIENCE_S = 30
ANSWER_TIMEOUT_S = 75
LOOK_EVERY_S = 0.05
RETRY_AFTER_S_MAX = 5.0
ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}
# When nothing about a payment is under way any more, by the status of its order.
AT_REST: Mapping[str, frozenset[str]] = {
    "confirmed": frozenset({"captured", "partially_refunded", "refunded"}),
    "fulfilled": frozenset({"captured", "partially_refunded", "refunded"}),
    "cancelled": frozenset({"voided", "refunded", "failed", "declined"}),
    "rejected": frozenset({"pending", "voided", "declined", "failed"}),
}
GONE = (aiohttp.ClientError, OSError, TimeoutError)


class Reply(NamedTuple):
    """One HTTP answer; status 0 where there was none, and `raw` says why."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    took_s: float

    @property
    def json(self) -> Any:
        """The body; an empty object where it is no JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return {}

    @property
    def code(self) -> str:
        """Status and code, as a person would say it."""
        if self.status == 0:
            return f"no answer ({self.raw.decode()})"
        document = self.json if isinstance(self.json, dict) else {}
        word = document.get("code") or document.get("status") or ""
        return f"{self.status} {word}".rstrip()


class Tradewind:
    """A Tradewind at an address, with a key that may do everything. Open it with `connect`."""

    name = "Tradewind"
    capabilities: frozenset[Capability] = frozenset(
        ("cancel", "refund", "set_stock", "keys", "strangers", "completions", "carts", "money")
    )

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._open = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
        )

    # -- what the races ask for

    async def make_ready(self, connections: int) -> None:
        """Connections are kept after an answer, so asking opens them."""
        if connections > self._open:
            await asyncio.gather(*(self._once("GET", "/readyz") for _ in range(connections)))
            self._open = connections

    async def create_product(self, sku: str, *, units: int, price: Decimal) -> None:
        """A product with one variant. Raises `AdapterBroken`."""
        variant = {"sku": sku, "price": wire(price)}
        product = {"title": f"Raced {sku}", "variants": [variant]}
        made = await self._ask("PUT", f"/v1/products/{quote(sku)}", product)
        if made.status not in (200, 201, 202):
            raise AdapterBroken(f"a product cannot be put on the shelf: {made.code}")
        counted = await self._ask("PUT", f"/v1/stock/{quote(sku)}", {"on_hand": units})
        if counted.status not in (200, 202):
            raise AdapterBroken(f"stock cannot be set: {counted.code}")

    async def place_order(self, order: NewOrder) -> Answer:
        """POST /v1/orders, and the order's own word where the wait ran out."""
        body: dict[str, Any] = {
            "email": order.buyer,
            "currency": CURRENCY,
            "lines": [{"sku": sku, "quantity": units} for sku, units in order.lines],
            "shipping_address": ADDRESS,
            "payment": {"token": CARD},
        }
        if order.basket:
            body["external_id"] = order.basket
        reply = await self._ask(
            "POST", "/v1/orders", body, key=order.key or new_key(), known=not order.stranger
        )
        document = reply.json
        reference = str(document.get("order_id") or document.get("id") or "")
        if reply.status == 202:
            found = await self.read_order(reference)
            kinds = {"confirmed": "done", "rejected": "refused", "cancelled": "refused"}
            return answer(reply, kinds.get(found.status, "undecided"), reference)
        confirmed = reply.status == 201 and document.get("status") == "confirmed"
        return answer(reply, "done" if confirmed else outcome_of(reply), reference)

    async def create_cart(self, order: NewOrder) -> str:
        """POST /v1/carts, by a guest. Raises `AdapterBroken`."""
        body = {
            "email": order.buyer,
            "currency": CURRENCY,
            "lines": [{"sku": sku, "quantity": units} for sku, units in order.lines],
            "shipping_address": ADDRESS,
        }
        reply = await self._ask("POST", "/v1/carts", body, known=False)
        if reply.status != 201:
            raise AdapterBroken(f"a cart cannot be kept: {reply.code}")
        return str(reply.json["id"])

    async def check_out_cart(self, cart: str) -> Answer:
        """POST .../checkout, under a key of its own, and the order's own word after a 202."""
        body = {"payment": {"token": CARD}}
        reply = await self._ask("POST", f"/v1/carts/{cart}/checkout", body, key=new_key())
        document = reply.json
        reference = str(document.get("order_id") or document.get("id") or "")
        if reply.status == 202:
            found = await self.read_order(reference)
            kinds = {"confirmed": "done", "rejected": "refused", "cancelled": "refused"}
            return answer(reply, kinds.get(found.status, "undecided"), reference)
        return answer(reply, outcome_of(reply), reference)

    async def change_cart(self, cart: str, units: int) -> Answer:
        """PATCH .../lines/1."""
        reply = await self._ask("PATCH", f"/v1/carts/{cart}/lines/1", {"quantity": units})
        done = reply.status == 200
        return answer(reply, "done" if done else outcome_of(reply), cart)

    async def discard_cart(self, cart: str) -> Answer:
        """DELETE /v1/carts/{id}."""
        reply = await self._ask("DELETE", f"/v1/carts/{cart}")
        return answer(reply, "done" if reply.status == 204 else outcome_of(reply), cart)

    async def cancel_order(self, reference: str) -> Answer:
        """POST .../cancel; 202 means that the provider is being waited for."""
        path = f"/v1/orders/{reference}/cancel"
        reply = await self._ask("POST", path, {"reason": "raced"}, key=new_key())
        if reply.status == 202:
            found = await self.read_order(reference)
            return answer(reply, "done" if found.status == "cancelled" else "undecided", reference)
        return answer(reply, outcome_of(reply), reference)

    async def refund_order(self, reference: str, amount: Decimal) -> Answer:
        """POST /v1/payments/{id}/refunds; 202 means that the provider is being waited for."""
        order = await self._ask("GET", f"/v1/orders/{reference}")
        payment = order.json.get("payment", {}).get("id", "")
        body = {"amount": wire(amount), "reason": "raced"}
        path = f"/v1/payments/{payment}/refunds"
        reply = await self._ask("POST", path, body, key=new_key())
        until = time.monotonic() + PATIENCE_S
        while reply.status == 202 and time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY_S)
            now = await self._ask("GET", reply.headers["Location"])
            status = now.json.get("status")
            if status in ("succeeded", "refused", "failed"):
                return answer(now, "done" if status == "succeeded" else "refused", reference)
        return answer(reply, outcome_of(reply), reference)

    async def set_stock(self, sku: str, units: int) -> Answer:
        """PUT /v1/stock/{sku}."""
        reply = await self._ask("PUT", f"/v1/stock/{quote(sku)}", {"on_hand": units})
        done = reply.status in (200, 202)  # 202: counted, the catalog shows it a little later
        return answer(reply, "done" if done else outcome_of(reply), sku)

    async def read_stock(self, sku: str) -> StockState:
        """GET /v1/stock/{sku}."""
        found = await self._read(f"/v1/stock/{quote(sku)}")
        return StockState(found["on_hand"], found["reserved"], found["available"])

    async def read_order(self, reference: str) -> OrderState:
        """GET /v1/orders/{id}, until its payment rests too."""
        until = time.monotonic() + PATIENCE_S
        while True:
            found = await self._read(f"/v1/orders/{reference}")
            rests = found["payment"]["status"] in AT_REST.get(found["status"], ())
            if rests or time.monotonic() > until:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        units: dict[str, int] = {}
        for line in found["lines"]:
            units[line["sku"]] = units.get(line["sku"], 0) + line["quantity"]
        status: Any = "confirmed" if found["status"] == "fulfilled" else found["status"]
        total = Decimal(found["totals"]["total"]["amount"])
        return OrderState(status if rests else "open", total, units)

    async def read_money(self, reference: str) -> MoneyState:
        """GET /v1/simulator/charges?order_id=."""
        items = (await self._read(f"/v1/simulator/charges?order_id={reference}"))["items"]
        amounts: dict[str, list[Decimal]] = {}
        for item in items:
            amounts.setdefault(item["operation"], []).append(Decimal(item["amount"]["amount"]))
        return MoneyState(
            authorised=tuple(amounts.get("authorise", ())),
            captured=tuple(amounts.get("capture", ())),
            voided=tuple(amounts.get("void", ())),
            refunded=tuple(amounts.get("refund", ())),
        )

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()

    # -- how it speaks

    async def check(self) -> None:
        """Raises `AdapterBroken` unless orders are taken and the key may see everything."""
        ready = await self._once("GET", "/readyz")
        if ready.status != 200:
            raise AdapterBroken(f"{self._url} is not ready: {ready.code}")
        allowed = await self._once("GET", "/v1/orders?limit=1")
        if allowed.status != 200:
            raise AdapterBroken(f"{self._url} does not take this key: {allowed.code}")

    async def _read(self, path: str) -> Any:
        """What stands somewhere. Raises `AdapterBroken`."""
        reply = await self._ask("GET", path)
        if reply.status != 200:
            raise AdapterBroken(f"GET {path}: {reply.code}")
        return reply.json

    async def _ask(
        self, method: str, path: str, body: Any = None, *, key: str = "", known: bool = True
    ) -> Reply:
        """A request; again, as it is, while the answer is 503 or 429."""
        headers = {"Prefer": f"wait={PATIENCE_S}"} if method == "POST" else {}
        if key:
            headers["Idempotency-Key"] = key
        began = time.monotonic()
        while True:
            reply = await self._once(method, path, body, headers, known=known)
            took_s = time.monotonic() - began
            if reply.status not in (429, 503) or took_s > PATIENCE_S:
                return reply._replace(took_s=took_s)
            await asyncio.sleep(pause_s(reply.headers.get("Retry-After", "1")))

    async def _once(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        known: bool = True,
    ) -> Reply:
        told = dict(headers or {})
        if known:
            told["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            told["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method, self._url + path, data=data, headers=told, allow_redirects=False
            ) as got:
                return Reply(got.status, got.headers, await got.read(), 0.0)
        except GONE as error:
            return Reply(0, {}, (str(error) or type(error).__name__).encode(), 0.0)


async def connect(url: str, key: str) -> Tradewind:
    """The adapter, once it is known to work. Raises `AdapterBroken`."""
    adapter = Tradewind(url, key)
    try:
        await adapter.check()
    except AdapterBroken:
        await adapter.close()
        raise
    return adapter


def answer(reply: Reply, outcome: Any, reference: str) -> Answer:
    """A reply in the races' words."""
    return Answer(
        outcome=outcome,
        reference=reference,
        code=reply.code,
        body=reply.raw,
        took_s=reply.took_s,
    )


def outcome_of(reply: Reply) -> str:
    """What a reply that is no special case means."""
    if reply.status in (200, 201):
        return "done" if reply.json.get("status") != "held" else "undecided"
    if reply.status == 202:
        return "undecided"
    return "refused" if 400 <= reply.status < 500 and reply.status != 429 else "failed"


def pause_s(text: str) -> float:
    """What Retry-After says, within reason."""
    try:
        return min(RETRY_AFTER_S_MAX, float(text))
    except ValueError:
        return 1.0


def wire(amount: Decimal) -> dict[str, str]:
    """An amount as the API reads it."""
    return {"amount": f"{amount:.2f}", "currency": CURRENCY}


def new_key() -> str:
    """An Idempotency-Key that nobody else has."""
    return uuid.uuid4().hex
