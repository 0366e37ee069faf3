"""A plan carried out on a real shop: orders, shipments, returns, credit notes, stock, to the penny.

What connections, servers and keys do to it is told in test_carrying, with a shop that breaks.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.samples.book import BOOK, HEART, LAMP, LANTERN
from tradewind.checks.proofs import prove_all
from tradewind.checks.replay.run import replay as replay_log
from tradewind.checks.replay.terminal import sentences
from tradewind.samples.client import AccessDenied, Client
from tradewind.samples.files_in_and_out import send_book
from tradewind.samples.history import make_plan, opening_stock, products
from tradewind.samples.reconcile import Reconciliation, reconcile
from tradewind.samples.replay import Outcomes, Pulse, replay
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

PLAN = make_plan(BOOK)
OPENING = opening_stock(PLAN)


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
    for _ in range(2):  # a second time does no harm
        report = await send_book(PLAN, "book", shop.url, shop.admin_key)
        assert report["accepted"] == len(list(products(PLAN))) and not report["rejected"]
    await shop.until_idle()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)
    simulator.stop()


async def run(shop: Shop) -> tuple[Outcomes, Pulse, Reconciliation]:
    pulse = Pulse(len(PLAN.actions))
    async with Client(shop.url, shop.admin_key) as client:
        outcomes = await replay(client, PLAN, pulse, concurrency=4)
        result = await reconcile(client, PLAN, outcomes, opening=OPENING)
    return outcomes, pulse, result


def differences(result: Reconciliation) -> object:
    return [check for check in result.checks if not check.equal] or result.unexpected


async def test_every_line_is_accounted_for_and_the_platform_agrees(stocked: Shop) -> None:
    outcomes, pulse, result = await run(stocked)
    assert result.agrees, differences(result)
    assert (pulse.done, pulse.orders, sum(pulse.refused.values())) == (23, 7, 0)
    order = await stocked.read_order(outcomes.order("536365").id)
    assert order["placed_at"].startswith("2010-12-01T08:01:00")
    assert order["totals"]["total"] == {"amount": "48.60", "currency": "GBP"}
    assert order["fees"] == [{"code": "postage", "amount": {"amount": "18.00", "currency": "GBP"}}]
    assert order["status"] == "partly_returned"
    lamp = await stocked.stock(LAMP)
    assert (lamp["on_hand"], lamp["reserved"]) == (OPENING[LAMP] + 4 - 1 + 2, 0)
    moved = (await stocked.admin("GET", f"/v1/stock/{HEART}/movements")).json["items"]
    kinds = {"fulfilment", "return", "write_off", "opening"}
    assert {movement["kind"] for movement in moved} == kinds
    assert next(m for m in moved if m["kind"] == "write_off")["reason"] == "damages"


async def test_running_it_again_changes_nothing(stocked: Shop) -> None:
    first, _, _ = await run(stocked)
    before = await stocked.stock(LANTERN)
    again, pulse, result = await run(stocked)
    assert result.agrees, differences(result)
    assert pulse.known_already == pulse.done
    assert {k: v.id for k, v in again.by_name.items()} == {
        k: v.id for k, v in first.by_name.items()
    }
    assert await stocked.stock(LANTERN) == before


async def test_what_was_done_is_found_when_the_keys_were_forgotten(stocked: Shop) -> None:
    """The server keeps keys for a day; `external_id` is for ever."""
    await run(stocked)
    assert stocked.settings.database_url is not None
    connection = await asyncpg.connect(stocked.settings.database_url)
    for context in ("orders", "payments", "inventory"):
        await connection.execute(f"DELETE FROM {context}.idempotency_keys")
    await connection.close()
    outcomes, pulse, result = await run(stocked)
    assert result.agrees, differences(result)
    assert not any(outcome.replayed for outcome in outcomes.by_name.values())
    assert pulse.known_already == pulse.done


async def test_the_shop_is_proved_afterwards(stocked: Shop) -> None:
    """`check invariants` and `check replay` on a living shop: all holds, and was looked at."""
    await run(stocked)
    dsn, provider = stocked.settings.database_url, stocked.settings.simulator_url
    assert dsn is not None and provider is not None
    report = await prove_all(dsn, provider, wait_s=20)
    assert report.under_way.quiet, str(report.under_way)
    assert [one.name for one in report.proved if not one.proof.holds] == []
    assert report.charges_count >= 10
    replayed = await replay_log(dsn, stocked.settings.home / "archive")
    assert replayed.holds, "\n".join(sentences(replayed))
    compared = {table.name: table.compared for table in replayed.tables}
    assert compared["inventory.stock"] == 3


async def test_a_difference_is_told(stocked: Shop) -> None:
    """A refund that the replay knows nothing of stands out, by name and amount."""
    outcomes, _, _ = await run(stocked)
    payment = outcomes.order("536366").payment_id
    refund = {"amount": {"amount": "1.00", "currency": "GBP"}, "reason": "goodwill"}
    answer = await stocked.admin("POST", f"/v1/payments/{payment}/refunds", refund, key="goodwill")
    assert answer.status == 201, answer.raw
    await stocked.until_idle()
    _, _, result = await run(stocked)
    assert not result.agrees
    assert "refunded or voided" in {check.about for check in result.checks if not check.equal}


async def test_a_wrong_key_is_refused_at_once(stocked: Shop) -> None:
    async with Client(stocked.url, "tw_live_wrong") as client:
        with pytest.raises(AccessDenied, match="401"):
            await replay(client, PLAN, Pulse(23))
