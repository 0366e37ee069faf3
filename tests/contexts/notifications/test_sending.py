"""From a queued message to a mail: a real node, a real vault, a real mail server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
import pytest_asyncio
from aiosmtpd.controller import Controller

from tradewind import app
from tradewind.contexts.notifications import clients, handlers
from tradewind.contexts.notifications.commands import ClaimMessages, MessagesAreDue
from tradewind.contexts.orders.events import OrderConfirmed
from tradewind.kernel.ids import new_id
from tradewind.platform.node import Node
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.testing.database import UnitRunner

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DUE_AGAIN = "UPDATE notifications.messages SET due_at = now() WHERE status = 'queued'"


class Inbox:
    """A mail server's memory. It refuses the first `refusals` mails for the moment."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusals = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refusals:
            self.refusals -= 1
            return "451 come back later"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    """A mail server and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield inbox, f"smtp://127.0.0.1:{port}"
    controller.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def node(dsn: str, inbox: tuple[Inbox, str]) -> AsyncIterator[Node]:
    """A node that sends through the mail server. Its loops stand still: tests take the steps."""
    settings = Settings(smtp_url=inbox[1], mail_from="A Shop <hello@shop.example>")
    node = app.build_node(settings, dsn, app.load_contexts(["notifications"]), Secrets([b"s" * 32]))
    yield node
    await node.stop()


async def queue(node: Node, *names: str) -> list[str]:
    """One confirmed order for each customer; returns their person tokens."""
    people = [
        await node.vault.keep({"email": f"{name}@example.com", "name": name}) for name in names
    ]
    events = [
        OrderConfirmed(
            sequence=2,
            order_id=new_id("ord"),
            payment_id=new_id("pay"),
            total_minor=1275,
            currency="GBP",
            customer=kept.person,
            contact=kept.contact,
            confirmed_at=NOW,
        )
        for kept in people
    ]
    runner = UnitRunner(node.pool.dsn, node.settings)
    await runner.run("notifications", handlers.write_messages, events)
    await runner.close()
    return [kept.person for kept in people]


async def sql(node: Node, query: str) -> list[tuple[Any, ...]]:
    runner = UnitRunner(node.pool.dsn)
    rows = [tuple(row) for row in await runner.sql(query)]
    await runner.close()
    return rows


async def test_each_customer_gets_their_mail_once(node: Node, inbox: tuple[Inbox, str]) -> None:
    """More than one claim's worth, and several signals at the same time."""
    names = [f"customer{number}" for number in range(120)]
    await queue(node, *names)
    await asyncio.gather(*(clients.send(node, [MessagesAreDue()]) for _ in range(5)))
    assert sorted(mail["To"] for mail in inbox[0].mails) == sorted(
        f"{n}@example.com" for n in names
    )
    rows = await sql(node, "SELECT status, via, count(*) FROM notifications.messages GROUP BY 1, 2")
    assert rows == [("sent", "smtp", 120)]


async def test_a_mail_sent_but_not_recorded_is_sent_again_under_the_same_id(
    node: Node, inbox: tuple[Inbox, str]
) -> None:
    """The process dies between the server's "250" and the commit."""
    await queue(node, "ada")
    due = await node.submit(ClaimMessages(count_max=10))
    people = await node.vault.open([message.person for message in due])
    await clients.attempt_all(due, people, settings=node.settings, now=NOW)
    # Nothing is recorded; the claim lapses.
    await sql(node, DUE_AGAIN)
    await clients.send(node, [MessagesAreDue()])
    first, second = inbox[0].mails
    assert first["Message-ID"] == second["Message-ID"]
    assert await sql(node, "SELECT status, attempts FROM notifications.messages") == [("sent", 2)]


async def test_a_server_with_a_bad_moment_is_tried_again(
    node: Node, inbox: tuple[Inbox, str]
) -> None:
    inbox[0].refusals = 1
    await queue(node, "ada")
    await clients.send(node, [MessagesAreDue()])
    assert await sql(node, "SELECT status, reason FROM notifications.messages") == [
        ("queued", "smtp_451")
    ]
    await sql(node, DUE_AGAIN)
    await clients.send(node, [MessagesAreDue()])
    assert len(inbox[0].mails) == 1


async def test_who_was_erased_meanwhile_gets_no_mail(node: Node, inbox: tuple[Inbox, str]) -> None:
    ada, _ = await queue(node, "ada", "grace")
    await node.vault.erase(ada)
    await clients.send(node, [MessagesAreDue()])
    assert [mail["To"] for mail in inbox[0].mails] == ["grace@example.com"]
    rows = await sql(node, "SELECT status, reason FROM notifications.messages ORDER BY status")
    assert rows == [("dead", "erased"), ("sent", None)]


async def test_one_damaged_record_stops_no_other_mail(node: Node, inbox: tuple[Inbox, str]) -> None:
    """Bytes changed in the vault's table: that mail waits, the others go."""
    ada, _ = await queue(node, "ada", "grace")
    await sql(
        node,
        "UPDATE vault.persons SET sealed = set_byte(sealed, 20, 255 - get_byte(sealed, 20))"
        f" WHERE person = '{ada}'",
    )
    await clients.send(node, [MessagesAreDue()])
    assert [mail["To"] for mail in inbox[0].mails] == ["grace@example.com"]
    rows = await sql(node, "SELECT status, reason FROM notifications.messages ORDER BY status")
    assert rows == [("queued", "vault"), ("sent", None)]
