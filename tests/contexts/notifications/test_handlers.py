"""Messages in PostgreSQL: kept once, claimed by one sender, settled once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from tradewind.contexts.notifications import handlers, queries, rules
from tradewind.contexts.notifications.commands import (
    Attempt,
    ClaimMessages,
    MessagesAreDue,
    RecordAttempts,
)
from tradewind.contexts.notifications.events import MessageSent
from tradewind.contexts.notifications.tables import DueMessage
from tradewind.contexts.orders.events import OrderCancelled, OrderConfirmed
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision
from tradewind.platform.settings import Settings
from tradewind.testing.database import UnitRunner

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session")
async def posting(unit: UnitRunner) -> AsyncIterator[UnitRunner]:
    """Units of work of a platform that sends through a mail server; starts with no message."""
    await unit.sql("TRUNCATE notifications.messages")
    runner = UnitRunner(unit.dsn, Settings(smtp_url="smtp://mail.example"))
    yield runner
    await runner.close()


def confirmed(order_id: str, *, contact: str | None = "") -> OrderConfirmed:
    return OrderConfirmed(
        sequence=2,
        order_id=order_id,
        payment_id=new_id("pay"),
        total_minor=1275,
        currency="GBP",
        customer=new_id("prs"),
        contact=new_id("ctc") if contact == "" else contact,
        confirmed_at=NOW,
    )


def cancelled(order_id: str, *, code: str = "cancelled") -> OrderCancelled:
    return OrderCancelled(
        sequence=3,
        order_id=order_id,
        code=code,
        reason="changed my mind",
        payment_id=new_id("pay"),
        customer=new_id("prs"),
        contact=new_id("ctc"),
        total_minor=1275,
        currency="GBP",
        skus=("MUG",),
    )


async def write(runner: UnitRunner, *events: Any) -> Decision:
    decision: Decision = await runner.run("notifications", handlers.write_messages, events)
    return decision


async def claim(runner: UnitRunner, count_max: int = 100) -> tuple[DueMessage, ...]:
    decision = await runner.run(
        "notifications", handlers.claim_messages, [ClaimMessages(count_max=count_max)]
    )
    claimed: tuple[DueMessage, ...] = decision.outcomes[0]
    return claimed


async def record(runner: UnitRunner, *attempts: Attempt) -> Decision:
    decision: Decision = await runner.run(
        "notifications", handlers.record_attempts, [RecordAttempts(attempts=attempts)]
    )
    return decision


def ended(message: DueMessage, result: Any, reason: str = "") -> Attempt:
    return Attempt(
        message_id=message.message_id,
        order_id=message.order_id,
        attempt=message.attempts + 1,
        result=result,
        via="smtp",
        reason=reason,
    )


async def test_the_mailbox_takes_both_mails_of_an_order_once(unit: UnitRunner) -> None:
    """Told twice, also across batches, the customer has one confirmation and one cancellation."""
    order_id = new_id("ord")
    first = await write(unit, confirmed(order_id))
    again = await write(unit, confirmed(order_id), cancelled(order_id))
    announced = [e for e in (*first.events, *again.events) if isinstance(e, MessageSent)]
    assert [(e.kind, e.sequence) for e in announced] == [("confirmation", 1), ("cancellation", 2)]
    assert not first.signals, "there is nothing to send"
    rows = await unit.sql(
        "SELECT kind, status, via, template FROM notifications.messages"
        " WHERE order_id = $1 ORDER BY sequence",
        order_id,
    )
    assert [tuple(row) for row in rows] == [
        ("confirmation", "sent", "mailbox", "confirmed.1"),
        ("cancellation", "sent", "mailbox", "cancelled.1"),
    ]


async def test_one_message_among_fifty_is_treated_like_one_alone(unit: UnitRunner) -> None:
    """Orders with and without an address, cancelled and failed, in one unit of work."""
    orders = [new_id("ord") for _ in range(50)]
    events: list[Any] = [
        confirmed(o, contact=None if n % 5 == 0 else "") for n, o in enumerate(orders)
    ]
    events += [cancelled(o, code="capture_failed") for o in orders[::2]]
    decision = await write(unit, *events)
    assert len(decision.events) == 40 + 25
    for order_id in orders:
        numbers = [e.sequence for e in decision.events if e.subject == order_id]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_two_batches_with_the_same_order_write_one_mail(unit: UnitRunner) -> None:
    """As when a partition moves while its old holder still works."""
    event = confirmed(new_id("ord"))
    decisions = await asyncio.gather(*(write(unit, event) for _ in range(4)))
    assert sum(len(decision.events) for decision in decisions) == 1


async def test_a_message_is_claimed_by_one_sender(posting: UnitRunner) -> None:
    """Two processes look for mail at the same moment; nobody gets two."""
    decision = await write(posting, *(confirmed(new_id("ord")) for _ in range(30)))
    assert decision.signals == (MessagesAreDue(),)
    assert not decision.events, "queued is not sent"
    claims = await asyncio.gather(*(claim(posting, 10) for _ in range(4)))
    ids = [message.message_id for claimed in claims for message in claimed]
    assert sorted(len(claimed) for claimed in claims) == [0, 10, 10, 10]
    assert len(set(ids)) == 30


async def test_commands_in_one_batch_share_what_is_due(posting: UnitRunner) -> None:
    await write(posting, *(confirmed(new_id("ord")) for _ in range(3)))
    decision = await posting.run(
        "notifications", handlers.claim_messages, [ClaimMessages(count_max=2)] * 3
    )
    assert [len(outcome) for outcome in decision.outcomes] == [2, 1, 0]


async def test_a_claim_whose_sender_died_lapses(posting: UnitRunner) -> None:
    """The sweep finds it, and the next attempt carries the same Message-ID."""
    await write(posting, confirmed(new_id("ord")))
    (first,) = await claim(posting)
    assert await claim(posting) == ()
    assert (await sweep(posting)).signals == ()
    await posting.sql("UPDATE notifications.messages SET due_at = now() - interval '1 second'")
    assert (await sweep(posting)).signals == (MessagesAreDue(),)
    (second,) = await claim(posting)
    assert second.header_id == first.header_id
    assert second.attempts == first.attempts + 1


async def sweep(runner: UnitRunner) -> Decision:
    async def handler(tx: Any, messages: Any) -> Decision:
        return await handlers.find_due_messages(tx)

    decision: Decision = await runner.run("notifications", handler, [])
    return decision


async def test_a_sent_mail_is_announced_once(posting: UnitRunner) -> None:
    """The result may be reported again after a crash between the commit and its answer."""
    await write(posting, confirmed(new_id("ord")))
    (message,) = await claim(posting)
    decision = await record(posting, ended(message, "sent"))
    (event,) = decision.events
    assert isinstance(event, MessageSent)
    assert (event.subject, event.sequence, event.via) == (message.order_id, 1, "smtp")
    assert not (await record(posting, ended(message, "sent"))).events


async def test_both_mails_of_an_order_settle_at_the_same_time(posting: UnitRunner) -> None:
    """Two senders, one order: its messages still count 1, 2."""
    order_id = new_id("ord")
    await write(posting, confirmed(order_id), cancelled(order_id))
    both = await claim(posting)
    decisions = await asyncio.gather(*(record(posting, ended(each, "sent")) for each in both))
    assert sorted(e.sequence for decision in decisions for e in decision.events) == [1, 2]


async def test_a_failure_comes_back_later_and_in_the_end_is_given_up(posting: UnitRunner) -> None:
    await write(posting, confirmed(new_id("ord")))
    for number in range(1, rules.ATTEMPTS_MAX + 1):
        (message,) = await claim(posting)
        decision = await record(posting, ended(message, "failed", "smtp_452"))
        assert bool(decision.events) == (number == rules.ATTEMPTS_MAX)
        await posting.sql(
            "UPDATE notifications.messages SET due_at = now() WHERE due_at IS NOT NULL"
        )
    assert await claim(posting) == ()
    (row,) = await posting.sql("SELECT status, attempts, reason FROM notifications.messages")
    assert tuple(row) == ("dead", rules.ATTEMPTS_MAX, "smtp_452")


async def test_the_mailbox_is_read_newest_first_and_by_address(unit: UnitRunner) -> None:
    await unit.sql("TRUNCATE notifications.messages")
    events = [confirmed(new_id("ord"), contact=f"ctc_{n % 2}") for n in range(6)]
    await write(unit, *events)
    async with unit.reading("notifications") as snapshot:
        everything = await queries.mailbox(snapshot, contact=None, before="msg_~", count_max=10)
        mine = await queries.mailbox(snapshot, contact="ctc_1", before="msg_~", count_max=2)
        older = await queries.mailbox(
            snapshot, contact="ctc_1", before=mine[-1].message_id, count_max=2
        )
    ids = [row.message_id for row in everything]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 6
    mine_ids = [row.message_id for row in (*mine, *older)]
    assert len(set(mine_ids)) == 3
    assert mine_ids == sorted(mine_ids, reverse=True)


async def test_a_mail_of_an_erased_person_is_listed_without_its_text(unit: UnitRunner) -> None:
    await unit.sql("TRUNCATE notifications.messages")
    event = confirmed(new_id("ord"))
    await write(unit, event)
    async with unit.reading("notifications") as snapshot:
        rows = await queries.mailbox(snapshot, contact=None, before="msg_~", count_max=1)
    known = {event.customer: {"email": "ada@example.com", "name": "Ada"}}
    (mail,) = queries.as_mails(rows, known, shop_url="http://shop.example")
    assert (mail.to, mail.erased) == ("ada@example.com", False)
    assert mail.text is not None
    assert "Hello Ada," in mail.text
    (gone,) = queries.as_mails(rows, {event.customer: None}, shop_url="http://shop.example")
    assert (gone.to, gone.text, gone.html, gone.erased) == (None, None, None, True)
    assert gone.order_id == event.order_id


@pytest.mark.parametrize("column", ["person", "contact"])
async def test_the_table_takes_tokens_only(unit: UnitRunner, column: str) -> None:
    """An address in a token's place is refused by the last line of defence."""
    await unit.sql("TRUNCATE notifications.messages")
    await write(unit, confirmed(new_id("ord")))
    with pytest.raises(Exception, match="check constraint"):
        await unit.sql(f"UPDATE notifications.messages SET {column} = 'ada@example.com'")
