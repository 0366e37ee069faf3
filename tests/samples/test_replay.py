"""A small order book replayed into a whole shop: once, again, forgotten, and proved."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from tradewind.checks.proofs import prove_all
from tradewind.samples.client import AccessDenied, Client
from tradewind.samples.history import Plan, SourceLine, make_plan
from tradewind.samples.reconcile import Reconciliation, reconcile
from tradewind.samples.replay import GivenBack, Outcomes, Pulse, order_body, replay
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

START = datetime(2010, 12, 1, 8, tzinfo=UTC)


def line(
    number: int,
    invoice: str,
    sku: str,
    quantity: int,
    price_e4: int = 25_500,
    *,
    customer: str = "1",
) -> SourceLine:
    at = START + timedelta(minutes=number)
    return SourceLine(number, invoice, sku, quantity, at, price_e4, customer, "GB")


BOOK = (
    line(1, "536365", "HEART", 6),
    line(2, "536365", "HEART", 6),
    line(3, "536365", "POST", 1, 180_000),
    line(4, "536366", "LANTERN", 2, customer=""),
    line(5, "536367", "LANTERN", 5, customer="2"),
    line(6, "C536368", "LANTERN", -5, customer="2"),  # all of 536367
    line(7, "C536369", "HEART", -4),  # a part of 536365
    line(8, "536370", "LANTERN", 1_000),  # more than there is
    line(9, "C536371", "LANTERN", -1_000),  # takes back what was refused
    line(10, "536372", "LAMP", 1),  # not in the sample
    line(11, "536373", "HEART", -3, 0, customer=""),  # a write-off
    line(12, "536374", "HEART", 3, 10),  # 0.001 each: 0.3 p, nothing
    line(13, "536374", "LANTERN", 1, 125_050),
)
PLAN: Plan = make_plan(BOOK, skus=frozenset(("HEART", "LANTERN")))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stocked(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """A shop with a provider of its own, whose record then holds this shop's charges only."""
    simulator = SimulatorProcess(tmp_path_factory.mktemp("simulator"))
    simulator.start()
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path_factory.mktemp("shop"), simulator.url)
    await shop.start()
    await shop.given_product("HEART", on_hand=100)
    await shop.given_product("lantern", on_hand=50)
    await shop.until_idle()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)
    simulator.stop()


async def run(shop: Shop) -> tuple[Outcomes, Pulse, Reconciliation]:
    pulse = Pulse(len(PLAN.actions))
    async with Client(shop.url, shop.admin_key) as client:
        outcomes = await replay(client, PLAN.actions, pulse, concurrency=4)
        return outcomes, pulse, await reconcile(client, PLAN, outcomes)


async def test_every_line_is_accounted_for_and_the_platform_agrees(stocked: Shop) -> None:
    outcomes, pulse, result = await run(stocked)
    assert result.agrees, (result.checks, result.unexpected)
    assert {row.place: (row.lines, row.units) for row in result.rows} == {
        "order confirmed, products": (6, 23),
        "order confirmed, carriage as a fee": (1, 1),
        "order refused: stock_is_short, products": (1, 1_000),
        "given back: order cancelled, stock returned": (1, -5),
        "given back: amount refunded": (1, -4),
        "not given back: its order was refused: stock_is_short": (1, -1_000),
        "left out: product outside the sample": (1, 1),
        "left out: write-off of stock, not a sale": (1, -3),
    }
    assert (pulse.done, pulse.orders, dict(pulse.refused)) == (8, 5, {"stock_is_short": 1})
    order = await stocked.read_order(outcomes.placed["536365"].order_id)
    assert order["placed_at"].startswith("2010-12-01T08:01:00")
    assert order["totals"]["total"] == {"amount": "48.60", "currency": "GBP"}
    assert order["fees"] == [{"code": "postage", "amount": {"amount": "18.00", "currency": "GBP"}}]
    assert (await stocked.stock("LANTERN"))["available"] == 50 - 2 - 1


async def test_running_it_again_changes_nothing(stocked: Shop) -> None:
    first, _, _ = await run(stocked)
    again, pulse, result = await run(stocked)
    assert result.agrees
    assert pulse.replayed == pulse.orders == 5
    assert {k: v.order_id for k, v in again.placed.items()} == {
        k: v.order_id for k, v in first.placed.items()
    }
    assert (await stocked.stock("HEART"))["reserved"] == 15


async def test_orders_are_found_when_the_keys_were_forgotten(stocked: Shop) -> None:
    """The server keeps keys for a day; `external_id` is for ever."""
    first, _, _ = await run(stocked)
    assert stocked.settings.database_url is not None
    connection = await asyncpg.connect(stocked.settings.database_url)
    await connection.execute("DELETE FROM orders.idempotency_keys")
    await connection.execute("DELETE FROM payments.idempotency_keys")
    await connection.close()
    again, pulse, result = await run(stocked)
    assert pulse.replayed == 0
    # Nothing was given back a second time.
    assert result.agrees, result.checks
    assert again.given_back.keys() == first.given_back.keys()
    assert {k: (v.order_id, v.confirmed, v.code) for k, v in again.placed.items()} == {
        k: (v.order_id, v.confirmed, v.code) for k, v in first.placed.items()
    }


async def test_a_difference_is_told(stocked: Shop) -> None:
    """A refund that the replay knows nothing of stands out, by name and amount."""
    outcomes, _, _ = await run(stocked)
    payment = outcomes.placed["536366"].payment_id
    refund = {"amount": {"amount": "1.00", "currency": "GBP"}, "reason": "goodwill"}
    answer = await stocked.admin("POST", f"/v1/payments/{payment}/refunds", refund, key="goodwill")
    assert answer.status == 201, answer.raw
    _, _, result = await run(stocked)
    assert not result.agrees
    assert [check.about for check in result.checks if not check.equal] == ["refunded or voided"]


async def test_an_outcome_that_is_missing_or_unexpected_is_told(stocked: Shop) -> None:
    outcomes, _, _ = await run(stocked)
    cancellation = ("C536369", "536365")
    outcomes.given_back[cancellation] = GivenBack(done=False, why_not="refused: teapot")
    async with Client(stocked.url, stocked.admin_key) as client:
        result = await reconcile(client, PLAN, outcomes)
    assert dict(result.unexpected) == {"cancellation: refused: teapot": 1}
    assert not result.agrees


async def test_the_shop_is_proved_afterwards(stocked: Shop) -> None:
    """`check invariants` on a living shop: everything holds, and something was looked at."""
    await run(stocked)
    dsn, provider = stocked.settings.database_url, stocked.settings.simulator_url
    assert dsn is not None and provider is not None
    report = await prove_all(dsn, provider, wait_s=20)
    assert report.under_way.quiet, str(report.under_way)
    assert [one.name for one in report.proved if not one.proof.holds] == []
    assert report.holds
    assert report.charges_count >= 10
    looked_at = {one.name: one.proof.checked for one in report.proved}
    assert looked_at["the providers account equals its own record"] == 4
    assert looked_at["orders are what their events say"] == 5


async def test_a_wrong_key_is_refused_at_once(stocked: Shop) -> None:
    async with Client(stocked.url, "tw_live_wrong") as client:
        with pytest.raises(AccessDenied, match="401"):
            await replay(client, PLAN.actions, Pulse(8))


def test_an_order_body_says_nothing_that_an_import_may_not() -> None:
    """Only fields of the wire contract; no e-mail, no name: the source has none."""
    (order, *_) = [action for action in PLAN.actions if action.invoice == "536365"]
    body = msgspec.json.decode(msgspec.json.encode(order_body(order)))  # type: ignore[arg-type]
    assert set(body) == {
        "external_id",
        "customer_ref",
        "currency",
        "lines",
        "shipping_address",
        "payment",
        "placed_at",
        "channel",
        "fees",
    }
    assert body["lines"][0]["unit_price"] == {"amount": "2.55", "currency": "GBP"}
