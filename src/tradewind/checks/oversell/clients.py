"""The clients: a seeded mix of what people do, each request on a connection of its own.

Who is not answered (the connection broke, 202, 503) keeps the request and its key and asks again,
later or when all is over. Everything goes into the history before it leaves.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from tradewind.checks.oversell.history import Recorder

PRICE = "10.00"
PRICE_MINOR = 1_000
SPREAD = tuple(f"SPREAD-{number:02}" for number in range(30))
HOT = tuple(f"HOT-{number}" for number in range(3))
SPREAD_UNITS = 1_000_000
HOT_UNITS = 20
ARRIVING_UNITS_MAX = 6  # about what is asked for: the shelves are always nearly empty

PATIENCE_S = 120.0
HANG_UP_SHARE = 0.02
HANG_UP_S = (0.001, 0.3)
THINK_S = 0.05
ASK_AGAIN_PAUSE_S = 0.2
# How often which card pays; the rest is in doubt or refused in one way or another.
CARDS = {
    "tok_ok": 70,
    "tok_declined": 4,
    "tok_unknown": 6,
    "tok_flaky": 4,
    "tok_slow": 3,
    "tok_suspicious": 3,
    "tok_capture_unknown": 4,
    "tok_capture_declined": 2,
    "tok_void_unknown": 2,
    "tok_refund_unknown": 4,
    "tok_timeout": 1,
}
KEPT_MAX = 200  # orders that a client remembers, to come back to
NOT_YET = frozenset({202, 503})
UNANSWERED = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass
class Wish:
    """A request that must be answered in the end, however often it is asked."""

    op: str
    path: str
    body: dict[str, Any]
    key: str
    staff: bool = False
    status: int | None = None
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def decided(self) -> bool:
        """Whether it has an answer that stays."""
        return self.status is not None and self.status not in NOT_YET


class Crowd:
    """What all clients share."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, admin_key: str, recorder: Recorder
    ) -> None:
        self.session = session
        self.url = url
        self.admin_key = admin_key
        self.recorder = recorder
        self.over = asyncio.Event()
        self.silent_cards = True  # whether cards that keep everybody waiting are still used

    async def ask(
        self,
        op: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        staff: bool = True,
        wait_s: int = 20,
        patience_s: float = PATIENCE_S,
    ) -> tuple[int | None, str]:
        """One request, in the history from its beginning to its end: status and body."""
        headers = {"Prefer": f"wait={wait_s}"} if method == "POST" else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if staff:
            headers["Authorization"] = f"Bearer {self.admin_key}"
        number = self.recorder.begin(op, method, path, key, body)
        try:
            async with self.session.request(
                method,
                self.url + path,
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=patience_s),
            ) as reply:
                text = (await reply.read()).decode()
                told = {name.lower(): value for name, value in reply.headers.items()}
        except UNANSWERED as error:
            self.recorder.end(number, None, repr(error)[:200], {})
            return None, ""
        self.recorder.end(number, reply.status, text, told)
        return reply.status, text

    async def wish(self, wish: Wish, **options: Any) -> Wish:
        """Ask for it once; what came of it stands in the wish."""
        status, text = await self.ask(
            wish.op, "POST", wish.path, wish.body, key=wish.key, staff=wish.staff, **options
        )
        if status is not None:
            wish.status = status
            wish.answer = json.loads(text) if text.startswith("{") else {}
        return wish

    async def until_answered(self, wish: Wish, within_s: float) -> None:
        """Ask until it is decided, or for so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while not wish.decided and loop.time() < until:
            await self.wish(wish, wait_s=5)
            if not wish.decided:
                await asyncio.sleep(ASK_AGAIN_PAUSE_S)


class Client:
    """Somebody who buys, comes back, changes his mind and wants his money back."""

    def __init__(self, crowd: Crowd, number: int, seed: int) -> None:
        self.crowd = crowd
        self.number = number
        self.random = random.Random(f"client {seed} {number}")
        self.count = 0
        self.open: list[Wish] = []
        self.bought: list[Wish] = []
        self.placed: list[Wish] = []  # decided in any way
        self.mix: dict[Callable[[], Awaitable[None]], int] = {
            self.buy: 50,
            self.buy_twice_at_once: 10,
            self.buy_and_call_off: 6,
            self.use_a_key_again: 3,
            self.ask_again: 12,
            self.repeat: 8,
            self.cancel: 6,
            self.refund: 12,
        }

    async def live(self) -> None:
        """Until all is over."""
        deeds, weights = list(self.mix), list(self.mix.values())
        while not self.crowd.over.is_set():
            await self.random.choices(deeds, weights)[0]()
            await asyncio.sleep(self.random.expovariate(1 / THINK_S))

    # -- what is asked for

    def name(self) -> str:
        """A name that nobody else has."""
        self.count += 1
        return f"c{self.number}-{self.count}"

    def basket(self) -> list[dict[str, Any]]:
        """Spread, hot, or hot ones crossed with others in any order."""
        what = self.random.random()
        if what < 0.4:
            skus = self.random.sample(SPREAD, self.random.randint(1, 3))
        elif what < 0.7:
            skus = [self.random.choice(HOT)]
        else:
            skus = self.random.sample(HOT, 2) + self.random.sample(SPREAD, 1)
            self.random.shuffle(skus)
        return [{"sku": sku, "quantity": self.random.randint(1, 3)} for sku in skus]

    def order(self) -> Wish:
        """A new order."""
        name = self.name()
        token = self.random.choices(list(CARDS), list(CARDS.values()))[0]
        if token == "tok_timeout" and not self.crowd.silent_cards:
            token = "tok_declined"
        body = {
            "email": f"{name}@example.com",
            "currency": "GBP",
            "lines": self.basket(),
            "shipping_address": {
                "name": "Ada Lovelace",
                "line1": "12 St James's Square",
                "city": "London",
                "postal_code": "SW1Y 4JH",
                "country": "GB",
            },
            "payment": {"token": token},
        }
        return Wish("place", "/v1/orders", body, f"place-{name}")

    # -- deeds

    async def send(self, wish: Wish, **options: Any) -> None:
        """Ask once, sometimes too impatient to hear the answer, and remember."""
        if self.random.random() < HANG_UP_SHARE:
            options["patience_s"] = self.random.uniform(*HANG_UP_S)
        self.remember(await self.crowd.wish(wish, **options))

    def remember(self, wish: Wish) -> None:
        """Keep what is open until it is answered, and what was bought to come back to."""
        if not wish.decided:
            if not any(wish is other for other in self.open):
                self.open.append(wish)
            return
        if wish.op == "place":
            self.placed = [*self.placed, wish][-KEPT_MAX:]
            if wish.status == 201:
                self.bought = [*self.bought, wish][-KEPT_MAX:]

    async def buy(self) -> None:
        """Place an order and wait."""
        await self.send(self.order())

    async def buy_twice_at_once(self) -> None:
        """The same request with the same key, two or three times side by side."""
        wish = self.order()
        again = [Wish(wish.op, wish.path, wish.body, wish.key) for _ in range(2)]
        twins = [wish, *again[: self.random.randint(1, 2)]]
        await asyncio.gather(*(self.crowd.wish(twin) for twin in twins))
        self.remember(next((twin for twin in twins if twin.decided), wish))

    async def buy_and_call_off(self) -> None:
        """Do not wait for the decision, and cancel while it is made."""
        wish = self.order()
        await self.send(wish, wait_s=0)
        if wish.status == 202:
            await self.send(self.cancellation(wish.answer["id"]))

    async def use_a_key_again(self) -> None:
        """The key of an old order for something else."""
        if self.placed:
            old = self.random.choice(self.placed)
            lines = [*old.body["lines"], {"sku": SPREAD[0], "quantity": 1}]
            other = Wish(old.op, old.path, {**old.body, "lines": lines}, old.key)
            await self.crowd.wish(other)

    async def ask_again(self) -> None:
        """Something that was not answered, as it was."""
        if self.open:
            await self.send(self.open.pop(self.random.randrange(len(self.open))))

    async def repeat(self) -> None:
        """Something that was answered, to hear the same."""
        if self.placed:
            await self.crowd.wish(replace(self.random.choice(self.placed)))

    def cancellation(self, order_id: str) -> Wish:
        """The request that calls an order off."""
        path = f"/v1/orders/{order_id}/cancel"
        return Wish("cancel", path, {"reason": "changed my mind"}, self.name(), staff=True)

    async def cancel(self) -> None:
        """Call off something that was bought."""
        if self.bought:
            order = self.bought.pop(self.random.randrange(len(self.bought)))
            await self.send(self.cancellation(order.answer["id"]))

    async def refund(self) -> None:
        """A part, the whole, or too much; of what was surely captured, or perhaps too early."""
        if not self.bought:
            return
        order = self.random.choice(self.bought)
        payment_id = order.answer["payment"]["id"]
        if self.random.random() < 0.7:
            await self.crowd.ask("payment", "GET", f"/v1/payments/{payment_id}")
        total = PRICE_MINOR * sum(line["quantity"] for line in order.body["lines"])
        share = self.random.choice((0.1, 0.5, 0.5, 1.0, 1.5))
        amount = int(total * share)
        body = {
            "amount": {"amount": f"{amount // 100}.{amount % 100:02}", "currency": "GBP"},
            "reason": order.answer["id"],
        }
        path = f"/v1/payments/{payment_id}/refunds"
        await self.send(Wish("refund", path, body, self.name(), staff=True))


class Storekeeper:
    """Counts the shelves of what everybody wants: mostly more has come, sometimes less is there."""

    def __init__(self, crowd: Crowd, seed: int) -> None:
        self.crowd = crowd
        self.random = random.Random(f"storekeeper {seed}")
        self.counts = dict.fromkeys(HOT, HOT_UNITS)

    async def live(self) -> None:
        """Until all is over."""
        while not self.crowd.over.is_set():
            sku = self.random.choice(HOT)
            if self.random.random() < 0.1:
                body = {"on_hand": 1_000_000, "expected_quantity": self.counts[sku] + 1_000}
                await self.crowd.ask("count", "PUT", f"/v1/stock/{sku}", body)
                continue
            change = self.random.randint(1, ARRIVING_UNITS_MAX)
            if self.random.random() < 0.15:
                change = -self.random.randint(1, 3)
            await self.count(sku, max(0, self.counts[sku] + change))
            await asyncio.sleep(self.random.uniform(0.05, 0.3))

    async def count(self, sku: str, on_hand: int, *, within_s: float = 90) -> None:
        """Set a count; asked until it is answered, so at most one is under way for each shelf."""
        self.counts[sku] = on_hand
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while loop.time() < until:
            status, _ = await self.crowd.ask(
                "count", "PUT", f"/v1/stock/{sku}", {"on_hand": on_hand}, patience_s=10
            )
            if status in (200, 202):
                return
            await asyncio.sleep(ASK_AGAIN_PAUSE_S)


class Follower:
    """Somebody who follows the public feed from its beginning, and keeps the place."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.cursor = ""
        self.count = 0

    async def live(self) -> None:
        """Until all is over."""
        while not self.crowd.over.is_set():
            if await self.page() == 0:
                await asyncio.sleep(0.1)

    async def to_the_end(self, within_s: float) -> None:
        """Read what is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        empty = 0
        while empty < 3 and loop.time() < until:
            empty = empty + 1 if await self.page() == 0 else 0
            if empty:
                await asyncio.sleep(0.2)

    async def page(self) -> int:
        """The next page; how much was on it. Without an answer the same page is asked again."""
        after = f"&after={self.cursor}" if self.cursor else ""
        headers = {"Authorization": f"Bearer {self.crowd.admin_key}"}
        try:
            async with self.crowd.session.get(
                f"{self.crowd.url}/v1/events?limit=100{after}",
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
            ) as reply:
                if reply.status != 200:
                    return 0
                page = json.loads(await reply.read())
        except UNANSWERED:
            return 0
        self.cursor = page["next"]
        items = [(e["source"], e["subject"], e["sequence"]) for e in page["items"]]
        if items:
            self.count += len(items)
            self.crowd.recorder.feed(items)
        return len(items)
