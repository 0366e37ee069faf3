"""Races around money that was taken: calling off and giving back, from many sides at once."""

import asyncio
from decimal import Decimal
from functools import partial

from tradewind.checks.concurrency.adapter import Answer, NewOrder, StockState
from tradewind.checks.concurrency.races.start import Track, with_outcome

UNITS = 1_000
CANCELS = 12
ORDERS = 24
REFUNDS = 16
# From "before anybody was told to capture" to "long captured", by measurement of fast platforms.
CANCEL_AFTER_S = (0.0, 0.0, 0.002, 0.01, 0.05, 0.3)


async def double_cancel(track: Track) -> None:
    """One order, called off by many at once: its money and its stock come back once."""
    sku = await track.product("cancelled", units=UNITS)
    units = track.dice.randint(1, 5)
    bought = await buy(track, sku, units)
    if bought is None:
        return
    await track.orders([bought])  # paid
    answers = await track.at_once("cancel", [partial(track.adapter.cancel_order, bought)] * CANCELS)
    done = len(with_outcome(answers, "done"))
    track.book.must(done >= 1, "nobody's cancellation was done")
    await check_called_off(track, sku, [bought])


async def cancel_against_capture(track: Track) -> None:
    """Orders called off while their money is being taken: nothing is kept, nothing stays held."""
    sku = await track.product("regretted", units=UNITS)

    async def regret(number: int, after_s: float) -> Answer:
        order = NewOrder(buyer=track.buyer(number), lines=((sku, 1),))
        placed = await track.adapter.place_order(order)
        if placed.outcome != "done":
            return placed
        await asyncio.sleep(after_s)
        cancelled = await track.adapter.cancel_order(placed.reference)
        references.append(placed.reference)
        return cancelled

    references: list[str] = []
    answers = await track.at_once(
        "order and cancel",
        [partial(regret, number, track.dice.choice(CANCEL_AFTER_S)) for number in range(ORDERS)],
    )
    track.book.must_be("of the cancellations done", len(with_outcome(answers, "done")), ORDERS)
    await check_called_off(track, sku, references)


async def parallel_partial_refunds(track: Track) -> None:
    """Many refunds of a third at once: three at most, and the provider says the same."""
    sku = await track.product("refunded", units=UNITS, price="30.00")
    bought = await buy(track, sku, 1)
    if bought is None:
        return
    before = (await track.orders([bought]))[bought]
    part = (before.total / 3).quantize(Decimal("0.01")) - track.dice.choice(
        (Decimal("0.00"), Decimal("0.01"), Decimal("1.27"))
    )
    possible = int(before.total // part)
    answers = await track.at_once(
        "refund", [partial(track.adapter.refund_order, bought, part)] * REFUNDS
    )
    book = track.book
    done = len(with_outcome(answers, "done"))
    book.must(
        done <= possible,
        f"{done} refunds of {part} were done of a payment of {before.total}: "
        "more given back than was taken",
    )
    book.must(done >= possible, f"only {done} of {possible} possible refunds of {part} were done")
    if "money" in track.adapter.capabilities:
        money = await track.adapter.read_money(bought)
        book.state(f"captured {money.captured}, refunded {len(money.refunded)} times {part}")
        book.must_be("captured by the provider", money.captured, (before.total,))
        book.must_be("refunded by the provider", money.refunded, (part,) * done)


async def refunds_against_cancel(track: Track) -> None:
    """Partial refunds while the order is called off: in the end exactly all is given back."""
    sku = await track.product("both", units=UNITS, price="30.00")
    bought = await buy(track, sku, 1)
    if bought is None:
        return
    await track.orders([bought])
    part = Decimal(track.dice.randint(1, 1_200)) / 100
    refunds = [partial(track.adapter.refund_order, bought, part)] * (REFUNDS // 4)
    answers = await track.at_once(
        "refund or cancel", [*refunds, partial(track.adapter.cancel_order, bought)]
    )
    book = track.book
    book.must_be("the cancellation", answers[-1].outcome, "done")
    order = (await track.orders([bought]))[bought]
    book.must_be("the order in the end", order.status, "cancelled")
    book.must_hold(sku, await track.adapter.read_stock(sku), StockState(UNITS, 0, UNITS))
    if "money" in track.adapter.capabilities:
        money = await track.adapter.read_money(bought)
        book.state(f"captured {money.captured}, refunded {money.refunded}")
        book.must_be("kept of the customer's money", money.taken, Decimal())
        book.must_be("captures", len(money.captured), 1)


async def buy(track: Track, sku: str, units: int) -> str | None:
    """An order that is confirmed; None, and a note, if it is not."""
    order = NewOrder(buyer=track.buyer("one"), lines=((sku, units),))
    answer = await track.adapter.place_order(order)
    track.book.answered("order", [answer])
    track.book.must(answer.outcome == "done", f"an ordinary order was not taken: {answer.code}")
    return answer.reference if answer.outcome == "done" else None


async def check_called_off(track: Track, sku: str, references: list[str]) -> None:
    """Every order is cancelled, every unit free again, no money kept and none promised."""
    orders = await track.orders(references)
    called_off = sum(order.status == "cancelled" for order in orders.values())
    track.book.must_be("orders that are cancelled in the end", called_off, len(orders))
    track.book.must_hold(sku, await track.adapter.read_stock(sku), StockState(UNITS, 0, UNITS))
    await track.check_money(orders)
