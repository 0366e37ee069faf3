"""Plans carried out against a shop of dictionaries: in order, once, and through every accident."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples.book import BOOK, HEART, LAMP, LANTERN, line
from tests.samples.fake_shop import FakeShop
from tests.samples.test_history import BOOKS
from tradewind.samples.client import Client, ShopIsGone
from tradewind.samples.history import Place, SourceLine, make_plan, opening_stock
from tradewind.samples.reconcile import Reconciliation, reconcile
from tradewind.samples.replay import Outcomes, Pulse, placing, replay

PLAN = make_plan(BOOK)
OPENING = opening_stock(PLAN)


async def run(
    shop: FakeShop, plan: object = PLAN, *, concurrency: int = 8
) -> tuple[Outcomes, Pulse, Reconciliation]:
    assert isinstance(plan, type(PLAN))
    url = await shop.open() if not shop.server.started else str(shop.server.make_url(""))
    pulse = Pulse(len(plan.actions))
    async with Client(url, "key") as client:
        outcomes = await replay(client, plan, pulse, concurrency=concurrency)
        result = await reconcile(client, plan, outcomes, opening=opening_stock(plan))
    return outcomes, pulse, result


async def test_every_line_is_accounted_for_and_the_platform_agrees() -> None:
    shop = FakeShop(OPENING)
    _, pulse, result = await run(shop)
    await shop.server.close()
    assert result.agrees, [c for c in result.checks if not c.equal] or result.unexpected
    assert {row.place: (row.lines, row.units) for row in result.account.rows} == {
        "ordered, goods": (7, 43),
        "ordered, fees": (3, 3),
        "cancelled before it shipped: stock and money back": (1, -5),
        "returned and refunded: goods back on the shelf": (3, -6),
        "credited: a note without an order": (4, -3),
        "stock: found": (1, 4),
        "stock: given away": (1, 1),
        "stock: write off": (1, -3),
        "left out: moves units of a fee, which has no stock": (1, -2),
    }
    assert result.rounding == "0.008"  # three hearts at 0.001, and a lantern at 12.505
    assert (pulse.done, pulse.orders, sum(pulse.refused.values())) == (23, 7, 0)
    assert result.document()["agrees"] is True


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(BOOKS, st.integers(1, 32))
async def test_any_history_is_possible_and_adds_up(
    source: list[SourceLine], concurrency: int
) -> None:
    """With the opening stock of the rule nothing is refused, however many actions mingle."""
    plan = make_plan(source)
    shop = FakeShop(opening_stock(plan))
    _, _, result = await run(shop, plan, concurrency=concurrency)
    await shop.server.close()
    assert result.agrees, [c for c in result.checks if not c.equal] or result.unexpected


async def test_connections_that_break_at_any_moment_change_nothing() -> None:
    shop = FakeShop(OPENING, seed=7)
    _, _, result = await run(shop)
    await shop.server.close()
    assert result.agrees, [c for c in result.checks if not c.equal] or result.unexpected
    assert len(shop.done) == len(set(shop.done))


@pytest.mark.parametrize("forgets", [False, True], ids=["keys kept", "keys forgotten"])
async def test_what_was_interrupted_goes_on_where_it_was(forgets: bool) -> None:
    """The first run ends in the middle, with its server; the second does the rest, once."""
    shop = FakeShop(OPENING)
    url = await shop.open()
    pulse = Pulse(len(PLAN.actions))
    work = shop.work

    def dies(path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        if len(shop.done) == 12:
            raise RuntimeError("the shop burns down")
        return work(path, body)

    shop.work = dies  # type: ignore[method-assign]
    async with Client(url, "key", patience_s=0) as client:
        outcomes = await replay(client, PLAN, pulse, concurrency=4)
        assert any(o.why_not == "refused: http_500" for o in outcomes.by_name.values())
    shop.work = work  # type: ignore[method-assign]
    if forgets:
        shop.forget_keys()
    outcomes, pulse, result = await run(shop)
    await shop.server.close()
    assert result.agrees, [c for c in result.checks if not c.equal] or result.unexpected
    assert any(o.replayed for o in outcomes.by_name.values()) is not forgets
    assert pulse.known_already > 0
    assert len(shop.done) == len(set(shop.done)) == len(PLAN.actions)


async def test_a_server_that_stays_away_is_told() -> None:
    shop = FakeShop(OPENING)
    url = await shop.open()
    await shop.server.close()
    async with Client(url, "key", patience_s=0.2) as client:
        with pytest.raises(ShopIsGone):
            await replay(client, PLAN, Pulse(23))


async def test_what_is_refused_and_what_follows_is_told() -> None:
    """Too little stock: the order is refused, its cancellation and returns are told so."""
    shop = FakeShop({**OPENING, HEART: 2, LANTERN: 2})
    plan = make_plan(BOOK, skus=frozenset((HEART, LANTERN)))
    _, _, result = await run(shop, plan)
    await shop.server.close()
    told = {row.place: row.lines for row in result.account.rows}
    assert told["order refused: stock_is_short, goods"] == 6
    assert told["not returned: its order was refused: stock_is_short"] == 3
    assert told["not moved: refused: stock_would_be_negative"] == 1
    assert told["left out: product outside the sample"] == 3
    assert result.account.complete and not result.unexpected


async def test_a_difference_is_told() -> None:
    """Money, units and lines that are not what they should be each stand out by name."""
    shop = FakeShop(OPENING)
    outcomes, _, _ = await run(shop)
    shop.on_hand[LAMP] += 1
    order_id = outcomes.order("536366").id
    shop.payments[f"pay_{order_id}"]["refunded"] = {"amount": "1.00", "currency": "GBP"}
    _, _, result = await run(shop)
    await shop.server.close()
    assert not result.agrees
    assert [check.about for check in result.checks if not check.equal] == [
        "refunded or voided",
        "ledger, the provider",
        "units on hand",
        "skus with other units on hand",
        f"units on hand of {LAMP}",
    ]


async def test_a_line_that_went_astray_is_named() -> None:
    shop = FakeShop(OPENING)
    outcomes, _, _ = await run(shop)
    del outcomes.by_name["credit", "C536378"]
    async with Client(str(shop.server.make_url("")), "key") as client:
        result = await reconcile(client, PLAN, outcomes, opening=OPENING)
    await shop.server.close()
    assert result.account.astray == (17,)
    assert not result.agrees


def test_an_order_body_says_nothing_that_an_import_may_not() -> None:
    """Only fields of the wire contract; no e-mail, no name: the source has none."""
    (order, *_) = [action for action in PLAN.actions if isinstance(action, Place)]
    body = msgspec.json.decode(msgspec.json.encode(placing(order).body))
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


def test_fees_of_one_code_are_one_fee() -> None:
    plan = make_plan([line(1, "1", "M", 1), line(2, "1", "M", 2), line(3, "1", "POST", 1)])
    (order, _) = plan.actions
    assert isinstance(order, Place)
    assert placing(order).body["fees"] == [
        {"code": "manual", "amount": {"amount": "7.65", "currency": "GBP"}},
        {"code": "postage", "amount": {"amount": "2.55", "currency": "GBP"}},
    ]
