"""Mail over real SMTP: what the server gets, and what we make of what it answers."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tradewind.contexts.notifications import clients
from tradewind.contexts.notifications.commands import Attempt
from tradewind.contexts.notifications.tables import DueMessage
from tradewind.platform.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Inbox:
    """A mail server's memory, and its moods by recipient."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("gone"):
            return "550 no such user <" + address + ">"
        if address.startswith("full"):
            return "452 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        (recipient,) = envelope.rcpt_tos
        if recipient.startswith("spam"):
            return "554 looks like spam"
        if recipient.startswith("hangup"):
            server.transport.abort()
            return "250 nobody hears this"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((recipient, mail))
        return "250 taken"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp_url(inbox: Inbox) -> Iterator[str]:
    """A mail server on a free port, in a thread of its own."""
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=True)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{controller.port}"
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def message(number: int, **changes: Any) -> DueMessage:
    values: dict[str, Any] = {
        "message_id": f"msg_{number}",
        "order_id": f"ord_{number}",
        "kind": "confirmation",
        "person": f"prs_{number}",
        "total_minor": 1275,
        "currency": "GBP",
        "template": "confirmed.1",
        "header_id": f"<ord_{number}.confirmation@shop.example>",
        "attempts": 0,
    }
    return DueMessage(**{**values, **changes})


async def attempt(smtp_url: str | None, *emails: str | None) -> list[Attempt]:
    """One attempt for each address, in order of the addresses."""
    people = {
        f"prs_{number}": {"name": "Ada Lovelace"} | ({"email": email} if email else {})
        for number, email in enumerate(emails)
    }
    due = [message(number) for number in range(len(emails))]
    settings = Settings(smtp_url=smtp_url, mail_from="A Shop <hello@shop.example>")
    attempts = await clients.attempt_all(due, people, settings=settings, now=NOW)
    return sorted(attempts, key=lambda each: each.message_id)


async def test_a_mail_arrives_with_everything_it_needs(inbox: Inbox, smtp_url: str) -> None:
    (done,) = await attempt(smtp_url, "ada@example.com")
    assert (done.result, done.via, done.attempt) == ("sent", "smtp", 1)
    ((recipient, mail),) = inbox.mails
    assert recipient == "ada@example.com"
    assert mail["From"] == "A Shop <hello@shop.example>"
    assert mail["To"] == "ada@example.com"
    assert mail["Message-ID"] == "<ord_0.confirmation@shop.example>"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    plain, rich = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert "Hello Ada Lovelace," in plain.get_content()
    assert "12.75 GBP" in rich.get_content()


async def test_a_resend_carries_the_same_message_id(inbox: Inbox, smtp_url: str) -> None:
    """A sender that died after the server took the mail sends it again; the receiver can tell."""
    await attempt(smtp_url, "ada@example.com")
    await attempt(smtp_url, "ada@example.com")
    assert len(inbox.mails) == 2
    assert len({mail["Message-ID"] for _, mail in inbox.mails}) == 1


async def test_what_the_server_says_decides_whether_to_try_again(
    inbox: Inbox, smtp_url: str
) -> None:
    """5xx about the address or the mail is final, 4xx is not; others in the batch are not hurt."""
    attempts = await attempt(
        smtp_url, "gone@example.com", "full@example.com", "spam@example.com", "ada@example.com"
    )
    assert [(a.result, a.reason) for a in attempts] == [
        ("refused", "smtp_550"),
        ("failed", "smtp_452"),
        ("refused", "smtp_554"),
        ("sent", ""),
    ]
    assert not any("@" in a.reason for a in attempts), "a reason never quotes the address"


async def test_a_server_that_hangs_up_costs_one_attempt(inbox: Inbox, smtp_url: str) -> None:
    """The letters that share its connection get a new one."""
    addresses = ["hangup@example.com", *(f"{n}@example.com" for n in range(8))]
    attempts = await attempt(smtp_url, *addresses)
    assert [a.result for a in attempts] == ["failed"] + ["sent"] * 8
    assert len(inbox.mails) == 8


async def test_no_server_fails_the_whole_batch_at_once() -> None:
    attempts = await asyncio.wait_for(
        attempt(f"smtp://127.0.0.1:{free_port()}", *(f"{n}@example.com" for n in range(20))), 5
    )
    assert {(a.result, a.reason) for a in attempts} == {("failed", "unreachable")}
    assert len(attempts) == 20


@pytest.mark.parametrize(
    ("email", "reason"),
    [(None, "no_address"), ("a@b.example\r\nBcc: evil@example.com", "bad_address")],
)
async def test_what_cannot_be_addressed_is_not_tried(
    inbox: Inbox, smtp_url: str, email: str | None, reason: str
) -> None:
    """A line break in an address must not become a header."""
    (done,) = await attempt(smtp_url, email)
    assert (done.result, done.reason) == ("refused", reason)
    assert not inbox.mails


async def test_an_erased_person_gets_no_mail(inbox: Inbox, smtp_url: str) -> None:
    settings = Settings(smtp_url=smtp_url)
    (done,) = await clients.attempt_all([message(0)], {"prs_0": None}, settings=settings, now=NOW)
    assert (done.result, done.reason) == ("refused", "erased")
    assert not inbox.mails


async def test_a_non_ascii_address_is_written_to(inbox: Inbox, smtp_url: str) -> None:
    """The server offers SMTPUTF8."""
    (done,) = await attempt(smtp_url, "zoë@bücher.example")
    assert done.result == "sent"
    assert inbox.mails[0][0] == "zoë@bücher.example"


async def test_without_a_server_the_mailbox_takes_what_was_waiting() -> None:
    (done,) = await attempt(None, "ada@example.com")
    assert (done.result, done.via) == ("sent", "mailbox")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", clients.Server("mail.example", 25, False, None, None)),
        ("smtp://mail.example:2525", clients.Server("mail.example", 2525, False, None, None)),
        (
            "smtps://a%40b:p%3Aw@mail.example",
            clients.Server("mail.example", 465, True, "a@b", "p:w"),
        ),
    ],
)
def test_a_server_is_read_from_its_url(url: str, server: clients.Server) -> None:
    assert clients.Server.of(url) == server
