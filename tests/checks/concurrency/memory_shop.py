"""A shop in memory that is right, or wrong in one way: each fault is one that real shops have."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from decimal import Decimal
from typing import Literal

from msgspec import Struct, structs

from tradewind.checks.concurrency.adapter import (
    Answer,
    Capability,
    MoneyState,
    NewOrder,
    OrderState,
    Outcome,
    StockState,
)

EVERYTHING: frozenset[Capability] = frozenset(
    ("cancel", "refund", "set_stock", "keys", "strangers", "completions", "carts", "money")
)
CAPTURED_AFTER_S = 0.02
Status = Literal["confirmed", "cancelled", "rejected"]


class Shelf(Struct):
    """The units of a sku."""

    on_hand: int
    price: Decimal
    reserved: int = 0

    @property
    def available(self) -> int:
        return max(0, self.on_hand - self.reserved)


class Kept(Struct):
    """An order, and the provider's record of it."""

    order: NewOrder
    status: Status
    total: Decimal
    authorised: list[Decimal] = []
    captured: list[Decimal] = []
    voided: list[Decimal] = []
    refunded: list[Decimal] = []
    capturing: asyncio.Task[None] | None = None

    def is_cancelled(self) -> bool:
        return self.status == "cancelled"


class MemoryShop:
    """Every step that a database would make atomic is under the lock, but for the fault's."""

    name = "a shop in memory"

    def __init__(self, fault: str = "", capabilities: frozenset[Capability] = EVERYTHING) -> None:
        self.capabilities = capabilities
        self.fault = fault
        self.shelves: dict[str, Shelf] = {}
        self.orders: dict[str, Kept] = {}
        self.by_key: dict[str, tuple[object, Answer]] = {}
        self.by_basket: dict[str, str] = {}
        self.carts: dict[str, NewOrder] = {}
        self.at_work: set[str] = set()
        self._lock = asyncio.Lock()

    def guard(self, *faults: str) -> AbstractAsyncContextManager[object]:
        """The lock; not for a shop that has this fault."""
        return nullcontext() if self.fault in faults else self._lock

    async def make_ready(self, connections: int) -> None:
        """Nothing to open."""

    async def create_product(self, sku: str, *, units: int, price: Decimal) -> None:
        self.shelves[sku] = Shelf(units, price)

    # -- orders

    async def place_order(self, order: NewOrder) -> Answer:
        if not order.key or self.fault == "ignores keys":
            return await self._place_basket(order)
        key = order.key
        if self.fault != "shares keys among strangers":
            key = f"{order.buyer if order.stranger else 'account'}:{order.key}"
        async with self.guard("looks keys up first"):
            kept = self.by_key.get(key)
            if kept is not None:
                same = kept[0] == order.lines or self.fault in (
                    "takes impostors",
                    "shares keys among strangers",
                )
                if self.fault == "charges twins":
                    self.orders[kept[1].reference].captured.append(Decimal("10.00"))
                return self._again(kept[1]) if same else told("refused", code="key reused")
            await turn()
            answer = await self._place_locked(order)
            if answer.outcome == "done":
                self.by_key[key] = (order.lines, answer)
            return answer

    def _again(self, answer: Answer) -> Answer:
        if self.fault != "answers twins differently":
            return answer
        return told("done", answer.reference, code="again")

    async def _place_basket(self, order: NewOrder) -> Answer:
        if self.fault == "deadlocks":
            return await self._place_deadlocking(order)
        async with self.guard("oversells", "completes baskets twice"):
            return await self._place_locked(order)

    async def _place_deadlocking(self, order: NewOrder) -> Answer:
        """Takes the locks of skus in the order of the lines; who meets a rival fails."""
        held: list[str] = []
        try:
            for sku, _ in order.lines:
                if sku in self.at_work:
                    if held:
                        return told("failed", code="500 deadlock")
                    while sku in self.at_work:
                        await turn()
                self.at_work.add(sku)
                held.append(sku)
                await turn()
            return await self._place_locked(order)
        finally:
            self.at_work.difference_update(held)

    async def _place_locked(self, order: NewOrder) -> Answer:
        if order.basket in self.by_basket:
            return told("refused", self.by_basket[order.basket], code="completed")
        wanted = [(self.shelves[sku], units) for sku, units in order.lines]
        if self.fault == "keeps lines of refused orders":
            for shelf, units in wanted:
                if shelf.available < units:
                    return told("refused", code="short")
                shelf.reserved += units
        else:
            if any(shelf.available < units for shelf, units in wanted):
                return told("refused", code="short")
            if self.fault == "keeps one back" and any(s.available == u for s, u in wanted):
                return told("refused", code="short")
            await turn()
            for shelf, units in wanted:
                shelf.reserved += units
        reference = f"order-{len(self.orders)}"
        total = sum((shelf.price * units for shelf, units in wanted), Decimal())
        kept = self.orders[reference] = Kept(order, "confirmed", total, [total])
        if order.basket:
            self.by_basket[order.basket] = reference
        kept.capturing = asyncio.create_task(self._capture(kept))
        return told("done", reference, code=f"for {order.buyer}")

    # -- carts

    async def create_cart(self, order: NewOrder) -> str:
        name = f"cart-{order.buyer}"
        self.carts[name] = order
        return name

    async def check_out_cart(self, cart: str) -> Answer:
        async with self.guard("checks carts out twice", "loses changes", "sells what is gone"):
            order = self.carts.get(cart)
            if order is None:
                return told("refused", code="no such cart")
            await turn()
            answer = await self._place_locked(order)
            self.carts.pop(cart, None)
            return answer

    async def change_cart(self, cart: str, units: int) -> Answer:
        async with self.guard("loses changes"):
            order = self.carts.get(cart)
            if order is None:
                return told("refused", code="no such cart")
            ((sku, _), *rest) = order.lines
            self.carts[cart] = structs.replace(order, lines=((sku, units), *rest))
            return told("done", cart)

    async def discard_cart(self, cart: str) -> Answer:
        async with self.guard("sells what is gone"):
            known = self.carts.pop(cart, None)
            return told("refused" if known is None else "done", cart)

    async def _capture(self, kept: Kept) -> None:
        await asyncio.sleep(CAPTURED_AFTER_S)
        async with self._lock:
            if kept.status == "confirmed" or self.fault == "captures cancelled orders":
                kept.captured.append(kept.total)

    # -- afterwards

    async def cancel_order(self, reference: str) -> Answer:
        async with self.guard("cancels twice", "restocks twice"):
            kept = self.orders[reference]
            if kept.is_cancelled():
                return told("refused", reference, code="cancelled already")
            await turn()
            money_moved = kept.is_cancelled()
            kept.status = "cancelled"
            for sku, units in kept.order.lines:
                self.shelves[sku].reserved -= units
            if self.fault == "restocks twice" and money_moved:
                return told("done", reference)
            if not kept.captured:
                kept.voided.append(kept.total)
                return told("done", reference)
            left = kept.total - sum(kept.refunded, Decimal())
            if self.fault in ("cancels twice", "refunds all on cancel"):
                left = kept.total
            if left:
                kept.refunded.append(left)
            return told("done", reference)

    async def refund_order(self, reference: str, amount: Decimal) -> Answer:
        async with self.guard("refunds too much"):
            kept = self.orders[reference]
            if sum(kept.refunded, amount) > sum(kept.captured, Decimal()):
                return told("refused", reference, code="too much")
            await turn()
            if self.fault == "loses refunds":
                return told("done", reference)
            kept.refunded.append(amount)
            return told("done", reference)

    async def set_stock(self, sku: str, units: int) -> Answer:
        shelf = self.shelves[sku]
        if self.fault == "overwrites counts":
            await asyncio.sleep(0)
            return told("done", sku)
        async with self._lock:
            shelf.on_hand = units
            if self.fault == "forgets promises":
                shelf.reserved = 0
        await turn()
        return told("done", sku)

    # -- what is known

    async def read_stock(self, sku: str) -> StockState:
        shelf = self.shelves[sku]
        return StockState(shelf.on_hand, shelf.reserved, shelf.available)

    async def read_order(self, reference: str) -> OrderState:
        kept = self.orders[reference]
        if kept.capturing is not None:
            await kept.capturing
        if self.fault == "never comes to rest":
            return OrderState("open", kept.total, dict(kept.order.lines))
        return OrderState(kept.status, kept.total, dict(kept.order.lines))

    async def read_money(self, reference: str) -> MoneyState:
        kept = self.orders[reference]
        return MoneyState(
            authorised=tuple(kept.authorised),
            captured=tuple(kept.captured),
            voided=tuple(kept.voided),
            refunded=tuple(kept.refunded),
        )

    async def close(self) -> None:
        """Nothing to close."""


def told(outcome: Outcome, reference: str = "", *, code: str = "") -> Answer:
    """An answer; its body tells the same."""
    body = f"{outcome} {reference} {code}".encode()
    return Answer(outcome=outcome, reference=reference, code=code, body=body, took_s=0.001)


async def turn() -> None:
    """Somebody else's turn."""
    await asyncio.sleep(0.001)
