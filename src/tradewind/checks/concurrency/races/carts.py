"""Races around a cart: everybody has it in the hand at once."""

from collections.abc import Callable, Coroutine
from functools import partial
from itertools import chain
from typing import Any

from tradewind.checks.concurrency.adapter import Answer, NewOrder, StockState
from tradewind.checks.concurrency.races.orders import check_one
from tradewind.checks.concurrency.races.start import Track, with_outcome

UNITS = 1_000
TIMES = 24
CARTS = 12

Act = Callable[[str], Coroutine[Any, Any, Answer]]


async def double_checkout(track: Track) -> None:
    """One cart, checked out from many windows at once, by requests of their own."""
    sku = await track.product("cart", units=UNITS)
    cart = await track.adapter.create_cart(NewOrder(buyer=track.buyer("one"), lines=((sku, 1),)))
    check_out = partial(track.adapter.check_out_cart, cart)
    answers = await track.at_once("checkout", [check_out] * TIMES)
    served = {answer.reference for answer in with_outcome(answers, "done")}
    track.book.must_be("orders made of one cart", len(served), 1)
    await check_one(track, sku, answers)


async def change_during_checkout(track: Track) -> None:
    """Carts of one unit, each checked out while somebody wants two."""
    sku = await track.product("changed", units=UNITS)

    async def two(cart: str) -> Answer:
        return await track.adapter.change_cart(cart, 2)

    changes, checkouts = await both(track, sku, "change", two)
    book = track.book
    book.must_be("carts that became an order", len(with_outcome(checkouts, "done")), CARTS)
    orders = await track.orders([answer.reference for answer in checkouts])
    sold = 0
    for change, checkout in zip(changes, checkouts, strict=True):
        wanted = 2 if change.outcome == "done" else 1
        found = orders[checkout.reference].units.get(sku, 0)
        sold += found
        book.must_be(f"units of an order whose change was {change.outcome}", found, wanted)
    book.must_hold(sku, await track.adapter.read_stock(sku), StockState(UNITS, sold, UNITS - sold))
    await track.check_money(orders)


async def discard_against_checkout(track: Track) -> None:
    """Carts that are thrown away and checked out at the same moment."""
    sku = await track.product("discarded", units=UNITS)
    discards, checkouts = await both(track, sku, "discard", track.adapter.discard_cart)
    book = track.book
    for discard, checkout in zip(discards, checkouts, strict=True):
        outcomes = sorted((discard.outcome, checkout.outcome))
        book.must_be("what became of a cart", outcomes, ["done", "refused"])
    served = [answer.reference for answer in with_outcome(checkouts, "done")]
    orders = await track.orders(served)
    sold = sum(order.units.get(sku, 0) for order in orders.values())
    book.must_be("units sold", sold, len(served))
    book.must_hold(sku, await track.adapter.read_stock(sku), StockState(UNITS, sold, UNITS - sold))
    await track.check_money(orders)


async def both(track: Track, sku: str, what: str, act: Act) -> tuple[list[Answer], list[Answer]]:
    """Carts with one unit each; something is done with each of them while it is checked out."""
    carts = [
        await track.adapter.create_cart(NewOrder(buyer=track.buyer(number), lines=((sku, 1),)))
        for number in range(CARTS)
    ]
    calls = [(partial(act, cart), partial(track.adapter.check_out_cart, cart)) for cart in carts]
    answers = await track.at_once(f"{what} or checkout", list(chain.from_iterable(calls)))
    return answers[0::2], answers[1::2]
