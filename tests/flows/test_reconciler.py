"""What dead processes left behind is settled, and each case leaves a figure and a log line."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
import structlog

from tests.contexts.notifications.test_handlers import claim, confirmed, ended, record, write
from tests.contexts.payments.world import World, outcome_of, terms_of
from tradewind.contexts.notifications import handlers
from tradewind.contexts.notifications.commands import ClaimMessages
from tradewind.contexts.payments.rules import Aim, Begin
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Reconciled
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import metrics, reconciled
from tradewind.testing.database import UnitRunner
from tradewind.testing.shop import Shop


def figure(case: str) -> float:
    value = metrics.REGISTRY.get_sample_value("tradewind_reconciled_total", {"case": case})
    return value or 0.0


@pytest.fixture
def world() -> World:
    world = World()
    world.follow(Begin(terms_of(1)))
    return world


def lose(world: World) -> None:
    """The process dies over its calls; the sweep of another finds what it claimed."""
    world.calls.clear()
    world.later(100)
    world.sweep()


def end(world: World, wanted: str) -> None:
    world.follow(Aim(order_id="ord_1", payment_id="pay_1", wanted=wanted))  # type: ignore[arg-type]


def test_a_lost_authorisation_is_looked_up_and_then_known(world: World) -> None:
    world.bank.decide(world.calls[0])
    lose(world)
    assert world.reconciled == ["lost_authorise"]
    world.record(world.bank.answer(world.calls.pop()))
    assert world.reconciled == ["lost_authorise", "unknown_outcome"]
    assert world.announced(1) == ["PaymentAuthorised"]


def test_a_lost_capture_and_a_lost_void_and_a_lost_refund(world: World) -> None:
    world.record(world.bank.answer(world.calls.pop()))
    end(world, "captured")
    lose(world)
    assert world.reconciled == ["lost_capture"]
    world.settle()
    end(world, "nothing")
    lose(world)
    assert world.reconciled[-1] == "lost_refund"
    other = World()
    other.follow(Begin(terms_of(1)))
    other.record(other.bank.answer(other.calls.pop()))
    end(other, "nothing")
    lose(other)
    assert other.reconciled == ["lost_void"]


def test_an_answer_that_never_came_is_an_unknown_outcome(world: World) -> None:
    """Of a process that lives: nobody died, yet nobody knew."""
    call = world.calls.pop()
    world.bank.decide(call)
    world.record(outcome_of(call, "no_answer"))
    assert world.reconciled == []
    world.record(world.bank.answer(world.calls.pop()))
    assert world.reconciled == ["unknown_outcome"]


def test_what_goes_well_is_no_case(world: World) -> None:
    end(world, "captured")
    world.settle()
    assert world.reconciled == []


@pytest_asyncio.fixture(loop_scope="session")
async def posting(unit: UnitRunner) -> AsyncIterator[UnitRunner]:
    runner = UnitRunner(unit.dsn, Settings(smtp_url="smtp://mail.example"))
    yield runner
    await runner.close()


async def cases(runner: UnitRunner) -> list[str]:
    """Claim what is due; what of it was left behind."""
    decision = await runner.run(
        "notifications", handlers.claim_messages, [ClaimMessages(count_max=10)]
    )
    return [one.case for one in decision.reconciled]


async def due_since(runner: UnitRunner, age_s: float) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    await runner.sql("UPDATE notifications.messages SET due_at = $1 WHERE status = 'queued'", at)


async def test_mail_whose_sender_died_is_told_of(posting: UnitRunner) -> None:
    await write(posting, confirmed(new_id("ord")))
    assert await cases(posting) == []
    await due_since(posting, 1)
    assert await cases(posting) == ["queued_mail"]
    await due_since(posting, 1)
    (message,) = await claim(posting)
    await record(posting, ended(message, "failed", "try later"))
    await due_since(posting, 60)
    assert await cases(posting) == [], "it failed and waited, nobody died"


async def test_mail_that_nobody_was_woken_for_is_told_of(posting: UnitRunner) -> None:
    await posting.sql("TRUNCATE notifications.messages")
    await write(posting, confirmed(new_id("ord")))
    await due_since(posting, 60)
    assert await cases(posting) == ["queued_mail"]


def test_each_case_is_one_figure_and_one_line() -> None:
    before = figure("orphaned_record")
    with structlog.testing.capture_logs() as lines:
        reconciled.tell(
            [
                Reconciled(case="orphaned_record", id="prs_1"),
                Reconciled(case="lost_capture", id="pay_1:capture", order_id="ord_1"),
            ]
        )
    assert figure("orphaned_record") == before + 1
    told = [(line["event"], line["case"], line["id"], line.get("order_id")) for line in lines]
    assert told == [
        ("reconciled", "orphaned_record", "prs_1", None),
        ("reconciled", "lost_capture", "pay_1:capture", "ord_1"),
    ]


async def test_a_running_shop_counts_what_it_settles(shop: Shop) -> None:
    """The provider never answers the first call on this card, though it did as asked."""
    await shop.given_product("in-doubt", on_hand=1)
    before = figure("unknown_outcome")
    assert (await shop.place(("in-doubt", 1), token="tok_unknown")).status == 201
    assert figure("unknown_outcome") == before + 1
    exposed = await shop.admin("GET", "/metrics")
    assert b'tradewind_reconciled_total{case="unknown_outcome"}' in exposed.raw, exposed.status
