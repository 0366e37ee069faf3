"""Carts on a real database: rows, guards, what time brings, and who comes between."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.contexts.orders.test_handlers import product, sell
from tests.contexts.orders.test_rules_carts import ADA, changed, checkout
from tradewind.contexts.fraud.events import PaymentCleared
from tradewind.contexts.inventory.events import StockRefused
from tradewind.contexts.orders import handlers
from tradewind.contexts.orders.commands import (
    Discard,
    MergeCarts,
    OpenCart,
    PersonsDiscarded,
    PersonsForgotten,
    PutIn,
    SetDetails,
    SetQuantity,
    Shopper,
    WantedLine,
)
from tradewind.contexts.orders.problems import CartInCheckout, CartOrdered
from tradewind.contexts.orders.queries import carts as queries
from tradewind.contexts.orders.tables.carts import CartRow
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction
from tradewind.testing.database import UnitRunner


async def begun(unit: UnitRunner, *skus: str, shopper: Shopper = ADA) -> CartRow:
    """A cart with one of each."""
    command = OpenCart(
        cart_id=new_id("crt"),
        credential=None,
        customer=None,
        currency="GBP",
        lines=tuple(WantedLine(sku=sku, quantity=1) for sku in skus),
        shopper=shopper,
    )
    decision: Decision = await unit.run("orders", handlers.open_carts, [command])
    assert decision.outcomes[0].status == 201, decision.outcomes
    return await row_of(unit, command.cart_id)


async def row_of(unit: UnitRunner, cart_id: str) -> CartRow:
    """A cart as it stands."""
    async with unit.reading("orders") as db:
        row = await queries.row_of(db, cart_id)
    assert row is not None
    return row


async def sweep(unit: UnitRunner) -> Decision:
    """The sweep of carts, once."""

    async def handler(tx: Transaction, messages: Sequence[Any]) -> Decision:
        return await handlers.look_at_carts(tx)

    decision: Decision = await unit.run("orders", handler, [])
    return decision


async def left_for(unit: UnitRunner, row: CartRow, time: timedelta) -> None:
    """As if nobody had touched the cart for so long."""
    await unit.sql(
        "UPDATE orders.carts SET touched_at = now() - $2::interval, look_at = now()"
        " WHERE cart_id = $1",
        row.cart_id,
        time,
    )


async def test_a_cart_is_kept_as_it_was_made(unit: UnitRunner) -> None:
    """Every column of it, also texts that look like something else."""
    await sell(unit, 'c-"q\\,{x}', "c-null")
    row = await begun(unit, 'C-"Q\\,{X}', "c-null")
    assert row.skus == ['c-"q\\,{x}', "c-null"]
    assert row.prices_then == row.prices_shown == [20_000, 20_000]
    await unit.run("orders", handlers.copy_offers, [product("c-null", version=2, archived=True)])
    decision = await unit.run(
        "orders", handlers.change_carts, [changed(row, PutIn(row.skus[0], 1))]
    )
    assert isinstance(decision.outcomes[0], Answer), decision.outcomes
    row = await row_of(unit, row.cart_id)
    assert (row.quantities, row.prices_shown, row.version) == ([2, 1], [20_000, None], 2)


async def test_whoever_comes_between_is_seen(unit: UnitRunner) -> None:
    """Another unit commits between reading and writing: the slower one decides again."""
    await sell(unit, "c-slip")
    row = await begun(unit, "c-slip")
    slipped: list[Decision] = []
    first = checkout(row)

    async def interrupted(tx: Transaction, commands: Sequence[Any]) -> Decision:
        decision = await handlers.change_carts(tx, commands)
        if not slipped:
            slipped.append(await unit.run("orders", handlers.check_out_carts, [first]))
        return decision

    decision = await unit.run("orders", interrupted, [changed(row, PutIn("c-slip", 1))])
    assert slipped[0].outcomes == [Pending(first.order_id)]
    assert isinstance(decision.outcomes[0], CartInCheckout)
    assert (await row_of(unit, row.cart_id)).quantities == [1]


async def test_two_checkouts_that_read_the_same_make_one_order(unit: UnitRunner) -> None:
    """In two units at the same moment, and in one batch."""
    await sell(unit, "c-twice")
    row = await begun(unit, "c-twice")
    slipped: list[Decision] = []

    async def interrupted(tx: Transaction, commands: Sequence[Any]) -> Decision:
        decision = await handlers.check_out_carts(tx, commands)
        if not slipped:
            slipped.append(await unit.run("orders", handlers.check_out_carts, [checkout(row)]))
        return decision

    late = await unit.run("orders", interrupted, [checkout(row), checkout(row)])
    assert isinstance(slipped[0].outcomes[0], Pending)
    assert [type(outcome) for outcome in late.outcomes] == [CartInCheckout, CartInCheckout]
    made = await unit.sql(
        "SELECT o.order_id FROM orders.checkouts c JOIN orders.orders o USING (order_id)"
        " WHERE c.cart_id = $1",
        row.cart_id,
    )
    assert [r["order_id"] for r in made] == [slipped[0].outcomes[0].resource]
    other = await begun(unit, "c-twice")
    batch = await unit.run(
        "orders", handlers.check_out_carts, [checkout(other), checkout(other), checkout(other)]
    )
    assert [type(o) for o in batch.outcomes] == [Pending, CartInCheckout, CartInCheckout]


async def test_the_order_says_how_its_cart_stands(unit: UnitRunner) -> None:
    """Nothing is written to the cart when the order is decided."""
    await sell(unit, "c-stand")
    row = await begun(unit, "c-stand")
    refused, accepted = checkout(row), checkout(row)
    await unit.run("orders", handlers.check_out_carts, [refused])
    news = StockRefused(sequence=1, order_id=refused.order_id, short=())
    await unit.run("orders", handlers.decide_orders, [news])
    again = await row_of(unit, row.cart_id)
    assert (again.order_status, again.order_rejection) == ("rejected", "stock_is_short")
    await unit.run("orders", handlers.check_out_carts, [accepted])
    cleared = PaymentCleared(
        sequence=1, order_id=accepted.order_id, payment_id="pay_x", score=0, reasons=()
    )
    await unit.run("orders", handlers.decide_orders, [cleared])
    late = await unit.run("orders", handlers.change_carts, [changed(row, Discard())])
    assert isinstance(late.outcomes[0], CartOrdered)


async def test_a_checkout_during_the_expiry(unit: UnitRunner) -> None:
    """Whichever commits first: the cart is expired and no order is made, or the other way round."""
    await sell(unit, "c-race")
    for order_first in (True, False):
        row = await begun(unit, "c-race")
        await left_for(unit, row, timedelta(days=31))
        slipped: list[Any] = []
        command = checkout(row)

        async def swept(tx: Transaction, messages: Sequence[Any]) -> Decision:
            decision = await handlers.look_at_carts(tx)
            if order_first and not slipped:  # noqa: B023 - run at once
                slipped.append(await unit.run("orders", handlers.check_out_carts, [command]))  # noqa: B023
            return decision

        await unit.run("orders", swept, [])
        if not order_first:
            slipped.append(await unit.run("orders", handlers.check_out_carts, [command]))
        outcome = slipped[0].outcomes[0]
        after = await row_of(unit, row.cart_id)
        if order_first:
            assert outcome == Pending(command.order_id) and after.ended is None
        else:
            assert outcome.code == "cart_ended" and after.ended == "expired"
            assert after.person is None and after.order_id is None


async def test_the_sweep_announces_ends_and_deletes(unit: UnitRunner) -> None:
    """In that order; what is swept twice is swept once."""
    await sell(unit, "c-left")
    row = await begun(unit, "c-left")
    await begun(unit)  # nothing in it: nothing to tell
    await left_for(unit, row, timedelta(hours=25))
    told = [e for e in (await sweep(unit)).events if e.subject == row.cart_id]
    assert [e.type for e in told] == ["orders.cart_abandoned.v1"]
    assert not (await sweep(unit)).events
    await left_for(unit, row, timedelta(days=30))
    await sweep(unit)
    assert (await row_of(unit, row.cart_id)).ended == "expired"
    await left_for(unit, row, timedelta(days=60))
    await sweep(unit)
    assert not await unit.sql("SELECT 1 FROM orders.carts WHERE cart_id = $1", row.cart_id)


async def test_a_cart_that_comes_back_is_announced_again(unit: UnitRunner) -> None:
    """Each pause is told of once, numbered without gaps."""
    await sell(unit, "c-back")
    row = await begun(unit, "c-back")
    for number in (1, 2):
        await left_for(unit, row, timedelta(hours=25))
        (event,) = [e for e in (await sweep(unit)).events if e.subject == row.cart_id]
        assert event.sequence == number
        await unit.run("orders", handlers.change_carts, [changed(row, PutIn("c-back", 1))])


async def test_discarded_records_are_found_until_they_are_forgotten(unit: UnitRunner) -> None:
    """A merge moves a record, a change replaces it, the end of a cart discards it."""
    people = [Shopper(person=new_id("prs"), contact=None) for _ in range(4)]
    rows = [await begun(unit, shopper=shopper) for shopper in people[:3]]
    change = changed(rows[0], SetDetails(person_before=people[0].person, shopper=people[3]))
    merge = MergeCarts(cart_id=rows[0].cart_id, guest_id=rows[1].cart_id, versions=None)
    await unit.run("orders", handlers.change_carts, [change, changed(rows[2], Discard())])
    await unit.run("orders", handlers.merge_carts, [merge])
    gone = {shopper.person for shopper in people[:3]}

    async def look(tx: Transaction, messages: Sequence[Any]) -> Decision:
        return await handlers.find_discarded(tx)

    (signal,) = (await unit.run("orders", look, [])).signals
    assert isinstance(signal, PersonsDiscarded) and set(signal.persons) >= gone
    async with unit.reading("orders") as db:
        assert people[3].person in await queries.persons_in_use(
            db, [p.person for p in people if p.person]
        )
    await unit.run(
        "orders", handlers.note_forgotten, [PersonsForgotten(persons=tuple(signal.persons))]
    )
    assert not (await unit.run("orders", look, [])).signals


async def test_changes_of_one_batch_see_each_other(unit: UnitRunner) -> None:
    """Several requests for one cart, and for others, in one unit."""
    await sell(unit, "c-batch")
    row, other = await begun(unit, "c-batch"), await begun(unit)
    decision = await unit.run(
        "orders",
        handlers.change_carts,
        [
            changed(row, PutIn("c-batch", 4)),
            changed(other, PutIn("C-BATCH", 7)),
            changed(row, SetQuantity(1, 3)),
            changed(row, SetQuantity(9, 3)),
            changed(row, PutIn("c-batch", 1), versions=("3",)),
        ],
    )
    assert [getattr(o, "status", 0) for o in decision.outcomes] == [200, 200, 200, 404, 200]
    assert (await row_of(unit, row.cart_id)).quantities == [4]
    assert (await row_of(unit, row.cart_id)).version == 4
    assert (await row_of(unit, other.cart_id)).quantities == [7]
