"""Races of requests that mean the same order, or only look as if they did."""

from functools import partial

from tradewind.checks.concurrency.adapter import Answer, NewOrder, StockState
from tradewind.checks.concurrency.races.start import Track, with_outcome

UNITS = 1_000
TWINS = 24


async def double_completion(track: Track) -> None:
    """One basket, completed from many windows at once."""
    sku = await track.product("basket", units=UNITS)
    order = NewOrder(buyer=track.buyer("one"), lines=((sku, 1),), basket=f"{track.mark}-basket")
    answers = await track.at_once("completion", [partial(track.adapter.place_order, order)] * TWINS)
    served = {answer.reference for answer in with_outcome(answers, "done")}
    track.book.must_be("orders made of one basket", len(served), 1)
    await check_one(track, sku, answers)


async def twins_in_flight(track: Track) -> None:
    """One request, sent many times under one key, and once with another basket under that key."""
    sku = await track.product("twin", units=UNITS)
    other = await track.product("impostor", units=UNITS)
    key = f"{track.mark}-key"
    order = NewOrder(buyer=track.buyer("one"), lines=((sku, 1),), key=key)
    impostor = NewOrder(buyer=track.buyer("one"), lines=((other, 1),), key=key)
    place = track.adapter.place_order
    first, *twins = await track.at_once("twin", [partial(place, order)] * TWINS)
    book = track.book
    book.must(
        all((twin.outcome, twin.body) == (first.outcome, first.body) for twin in twins),
        f"twins were answered differently: {sorted({twin.code for twin in [first, *twins]})}, "
        f"{len({twin.body for twin in [first, *twins]})} bodies",
    )
    late, false = await track.at_once(
        "later twin", [partial(place, order), partial(place, impostor)]
    )
    book.must(late.body == first.body, "a twin that came later was answered differently")
    book.must(false.outcome == "refused", "another basket was taken under a key that was used")
    await check_one(track, sku, [first, *twins, late])
    book.must_hold(other, await track.adapter.read_stock(other), StockState(UNITS, 0, UNITS))


async def mixed_twins(track: Track) -> None:
    """Two different baskets under one key at the same moment: one of the two, whole, wins."""
    skus = [await track.product(name, units=UNITS) for name in ("left", "right")]
    key = f"{track.mark}-key"
    orders = [NewOrder(buyer=track.buyer("one"), lines=((sku, 1),), key=key) for sku in skus]
    place = track.adapter.place_order
    answers = await track.at_once(
        "twin", [partial(place, orders[number % 2]) for number in range(TWINS)]
    )
    sides = [answers[0::2], answers[1::2]]
    winners = [number for number, side in enumerate(sides) if with_outcome(side, "done")]
    book = track.book
    book.must_be("baskets that were taken under one key", len(winners), 1)
    for number in winners[:1]:
        won, lost = sides[number], sides[1 - number]
        book.must_be("of the winner's twins served", len(with_outcome(won, "done")), len(won))
        book.must_be("of the loser's refused", len(with_outcome(lost, "refused")), len(lost))
        await check_one(track, skus[number], won)
        left = skus[1 - number]
        book.must_hold(left, await track.adapter.read_stock(left), StockState(UNITS, 0, UNITS))


async def strangers_with_the_same_key(track: Track) -> None:
    """People who do not know each other, by accident under one key: each gets his own order."""
    sku = await track.product("stranger", units=UNITS)
    place = track.adapter.place_order
    answers = await track.at_once(
        "stranger",
        [
            partial(
                place,
                NewOrder(
                    buyer=track.buyer(number),
                    lines=((sku, 1),),
                    key=f"{track.mark}-key",
                    stranger=True,
                ),
            )
            for number in range(TWINS)
        ],
    )
    book = track.book
    served = [answer.reference for answer in with_outcome(answers, "done")]
    book.must_be("strangers served", len(served), TWINS)
    book.must(
        len(set(served)) == len(served),
        f"{len(served)} strangers share {len(set(served))} orders: one is shown another's",
    )
    for number, answer in enumerate(answers):
        named = track.buyer(number).encode()
        others = [n for n in range(TWINS) if n != number and track.buyer(n).encode() in answer.body]
        book.must(not others, f"{named.decode()} was shown the order of number {others[:3]}")
    orders = await track.orders(served)
    sold = sum(order.units.get(sku, 0) for order in orders.values())
    book.must_be("units sold to strangers", sold, TWINS)
    book.must_hold(
        sku, await track.adapter.read_stock(sku), StockState(UNITS, TWINS, UNITS - TWINS)
    )
    await track.check_money(orders)


async def check_one(track: Track, sku: str, answers: list[Answer]) -> None:
    """All of it came to one confirmed order of one unit, paid once."""
    book = track.book
    orders = await track.orders([answer.reference for answer in answers if answer.reference])
    confirmed = {name: one for name, one in orders.items() if one.status == "confirmed"}
    book.must_be("orders in the end", len(confirmed), 1)
    book.must_hold(sku, await track.adapter.read_stock(sku), StockState(UNITS, 1, UNITS - 1))
    await track.check_money(orders)
