"""Races for units: who gets the last one, and what a count does in the middle of a rush."""

from functools import partial

from tradewind.checks.concurrency.adapter import Answer, NewOrder, StockState
from tradewind.checks.concurrency.races.start import Track, with_outcome

BUYERS = 60
UNITS = 12


async def last_unit(track: Track) -> None:
    """More buyers than units, one unit each."""
    units = track.dice.randint(1, UNITS)
    sku = await track.product("last", units=units)
    place = track.adapter.place_order
    answers = await track.at_once(
        "order",
        [
            partial(place, NewOrder(buyer=track.buyer(number), lines=((sku, 1),)))
            for number in range(BUYERS)
        ],
    )
    await check_sold(track, answers, {sku: units}, expected=units)


async def crossed_baskets(track: Track) -> None:
    """Two skus, half of the baskets name them in the other order: no deadlock, no half basket."""
    units = track.dice.randint(4, UNITS)
    one = await track.product("one", units=units)
    other = await track.product("other", units=units)
    place = track.adapter.place_order
    answers = await track.at_once(
        "order",
        [
            partial(
                place,
                NewOrder(
                    buyer=track.buyer(number),
                    lines=((one, 1), (other, 1)) if number % 2 else ((other, 1), (one, 1)),
                ),
            )
            for number in range(BUYERS)
        ],
    )
    await check_sold(track, answers, {one: units, other: units}, expected=units)


async def small_after_big(track: Track) -> None:
    """Baskets that cannot be served among some that can: the former take nothing from the latter.

    Some ask for too many units, others for one that there is and for two of which there is one.
    """
    units = track.dice.randint(3, UNITS)
    sku = await track.product("plenty", units=units)
    rare = await track.product("rare", units=1)
    place = track.adapter.place_order
    small = ((sku, 1),)
    kinds = (small, ((sku, 1), (rare, 2)), ((sku, units + 1),), ((rare, 2), (sku, 1)))
    orders = [
        NewOrder(buyer=track.buyer(number), lines=kinds[number % len(kinds)])
        for number in range(BUYERS)
    ]
    answers = await track.at_once("order", [partial(place, order) for order in orders])
    big = [a for a, order in zip(answers, orders, strict=True) if order.lines != small]
    served = len(with_outcome(big, "done"))
    track.book.must(served == 0, f"{served} baskets were served that ask for more than there is")
    await check_sold(track, answers, {sku: units, rare: 1}, expected=units)


async def stock_set_against_orders(track: Track) -> None:
    """Counts come in while people buy: the last count stands, and no promise is forgotten."""
    counts = [track.dice.randint(5, BUYERS // 2) for _ in range(6)]
    sku = await track.product("counted", units=counts[0])
    place = track.adapter.place_order

    async def count() -> Answer:
        """One count after the other, as one person with one scanner."""
        answer = Answer(outcome="failed", code="no count")
        for units in counts:
            answer = await track.adapter.set_stock(sku, units)
        return answer

    buying = [
        partial(place, NewOrder(buyer=track.buyer(number), lines=((sku, 1),)))
        for number in range(BUYERS)
    ]
    *answers, _ = await track.at_once("order or count", [*buying, count])
    orders = await track.orders([answer.reference for answer in with_outcome(answers, "done")])
    sold = sum(order.units.get(sku, 0) for order in orders.values() if order.status == "confirmed")
    track.book.must_hold(
        sku,
        await track.adapter.read_stock(sku),
        StockState(counts[-1], sold, max(0, counts[-1] - sold)),
    )
    least, most = min(counts), max(counts)
    track.book.must(
        least <= sold <= most,
        f"{sold} units were sold while counts went from {least} to {most}",
    )
    await track.check_money(orders)


async def check_sold(
    track: Track, answers: list[Answer], units: dict[str, int], *, expected: int
) -> None:
    """So many baskets were served, everybody else refused, and stock and money say the same."""
    book = track.book
    served = with_outcome(answers, "done")
    book.must(
        len(served) <= expected,
        f"{len(served)} orders were confirmed where {expected} could be: oversold",
    )
    book.must(
        len(served) >= expected,
        f"{len(served)} orders were confirmed where {expected} could be: refused for nothing",
    )
    references = [answer.reference for answer in served]
    book.must(len(set(references)) == len(references), "two buyers were given the same order")
    orders = await track.orders([answer.reference for answer in answers if answer.reference])
    confirmed = {name for name, order in orders.items() if order.status == "confirmed"}
    book.must_be("orders that are confirmed in the end", len(confirmed), len(set(references)))
    book.must(confirmed == set(references), "an order was answered one way and ended another")
    for sku, there in units.items():
        sold = sum(orders[name].units.get(sku, 0) for name in confirmed)
        book.must_hold(
            sku, await track.adapter.read_stock(sku), StockState(there, sold, there - sold)
        )
    await track.check_money(orders)
