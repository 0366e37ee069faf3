"""Sends mail: claims what is due, opens the vault, speaks SMTP, records what came of it.

The order of things is what makes a mail safe to lose a process over: the attempt is committed
(`ClaimMessages`), then the mail goes out, then the result is committed (`RecordAttempts`). A crash
in between leaves a claim that lapses; the next attempt carries the same Message-ID, by which the
receiver knows the repeat. One sender a process claims as fast as the server takes mail, so a slow
server makes the table longer, not the memory.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as SMTP_LINES
from email.utils import format_datetime, parseaddr
from typing import Literal
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

import aiosmtplib
from msgspec import Struct

from tradewind.contexts.notifications import rules
from tradewind.contexts.notifications.commands import (
    Attempt,
    ClaimMessages,
    MessagesAreDue,
    RecordAttempts,
)
from tradewind.contexts.notifications.tables import DueMessage
from tradewind.platform.node import Node
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import logs
from tradewind.platform.vault.sealing import RecordUnreadable

logger = logs.get(__name__)

# Mail servers commonly allow 10 to 20 connections from one client; we are not the only one.
CONNECTIONS_MAX = 4
# Some servers greet slowly to keep spammers off. A server that takes that long for each mail of a
# batch outlasts the claim; what it took counts as sent all the same.
SMTP_TIMEOUT_S = 10.0
PERMANENT = range(500, 600)


class Sender:
    """Whether mail is being sent in this process, and whether more came meanwhile."""

    def __init__(self) -> None:
        self.busy = False
        self.rung = False


SENDERS: WeakKeyDictionary[Node, Sender] = WeakKeyDictionary()


async def send(node: Node, signals: Sequence[MessagesAreDue]) -> None:
    """Send all that is due. While one call is at it, others only ring its bell."""
    sender = SENDERS.setdefault(node, Sender())
    sender.rung = True
    if sender.busy:
        return
    sender.busy = True
    try:
        while sender.rung:
            sender.rung = False
            while await send_batch(node):
                pass
    finally:
        sender.busy = False


async def send_batch(node: Node) -> bool:
    """Claim a batch, send it, record it; False when nothing was due."""
    due: Sequence[DueMessage] = await node.submit(ClaimMessages(count_max=rules.CLAIM_COUNT_MAX))
    if not due:
        return False
    people, damaged = await open_people(node, sorted({message.person for message in due}))
    attempts = [outcome(each, "failed", "vault") for each in due if each.person in damaged]
    whole = [each for each in due if each.person not in damaged]
    tokens = {
        each.order_id: node.secrets.errand_token(each.order_id)
        for each in whole
        if each.kind == "account"
    }
    attempts += await attempt_all(
        whole, people, settings=node.settings, now=node.clock.now(), tokens=tokens
    )
    await node.submit(RecordAttempts(attempts=tuple(attempts)))
    return True


async def open_people(
    node: Node, persons: Sequence[str]
) -> tuple[dict[str, dict[str, str] | None], set[str]]:
    """Who is written to, and whose record does not open; one damaged record stops no other mail."""
    try:
        return await node.vault.open(persons), set()
    except RecordUnreadable:
        if len(persons) == 1:
            logger.exception("mail.record_unreadable", person=persons[0])
            return {}, {persons[0]}
    people: dict[str, dict[str, str] | None] = {}
    damaged: set[str] = set()
    for person in persons:
        opened, unreadable = await open_people(node, [person])
        people |= opened
        damaged |= unreadable
    return people, damaged


async def attempt_all(
    due: Sequence[DueMessage],
    people: Mapping[str, Mapping[str, str] | None],
    *,
    settings: Settings,
    now: datetime,
    tokens: Mapping[str, str] = {},
) -> list[Attempt]:
    """One attempt for each message, over a few connections at once. `tokens` are by errand."""
    server = Server.of(settings.smtp_url)
    letters: list[Letter] = []
    attempts: list[Attempt] = []
    for message in due:
        written = write_letter(
            message,
            people.get(message.person),
            settings=settings,
            now=now,
            token=tokens.get(message.order_id, ""),
        )
        if isinstance(written, Attempt):
            attempts.append(written)
        elif server is None:
            # The server was taken out of the settings: what waited for it goes to the mailbox.
            attempts.append(outcome(message, "sent", via="mailbox"))
        else:
            letters.append(written)
    if server is not None and letters:
        shares = [letters[index::CONNECTIONS_MAX] for index in range(CONNECTIONS_MAX)]
        for share in await asyncio.gather(*(deliver(server, share) for share in shares if share)):
            attempts += share
    return attempts


class Letter(Struct, frozen=True):
    """A mail ready to go: envelope and content."""

    message: DueMessage
    sender: str
    to: str
    content: EmailMessage


class Server(Struct, frozen=True):
    """Where mail is handed over."""

    host: str
    port: int
    tls: bool  # from the first byte; otherwise STARTTLS wherever the server offers it
    username: str | None
    password: str | None

    @classmethod
    def of(cls, smtp_url: str | None) -> "Server | None":
        """From ``smtp://[user:password@]host[:port]`` or ``smtps://``; None: the mailbox."""
        if not smtp_url:
            return None
        url = urlsplit(smtp_url)
        tls = url.scheme == "smtps"
        return cls(
            host=url.hostname or "localhost",
            port=url.port or (465 if tls else 25),
            tls=tls,
            username=unquote(url.username) if url.username else None,
            password=unquote(url.password) if url.password else None,
        )

    def connection(self) -> aiosmtplib.SMTP:
        """A connection, not yet open."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.tls,
            username=self.username,
            password=self.password,
            timeout=SMTP_TIMEOUT_S,
        )


def write_letter(
    message: DueMessage,
    person: Mapping[str, str] | None,
    *,
    settings: Settings,
    now: datetime,
    token: str = "",
) -> Letter | Attempt:
    """The mail to a person, or why there can be none."""
    if person is None:
        return outcome(message, "refused", "erased")
    to = person.get("email")
    if not to:
        return outcome(message, "refused", "no_address")
    text = rules.write_text(
        message.template,
        name=person.get("name"),
        order_id=message.order_id,
        total_minor=message.total_minor,
        currency=message.currency,
        shop_url=settings.shop_url,
        token=token,
        account_url=settings.account_pages,
    )
    content = EmailMessage(policy=SMTP_LINES)
    try:
        content["From"] = settings.mail_from
        content["To"] = to
    except (MessageError, ValueError, IndexError):
        # The email package refuses line breaks and what it cannot read as an address.
        return outcome(message, "refused", "bad_address")
    content["Subject"] = text.subject
    content["Date"] = format_datetime(now)
    content["Message-ID"] = message.header_id
    content["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies, please
    content.set_content(text.text)
    content.add_alternative(text.html, subtype="html")
    return Letter(message, parseaddr(settings.mail_from)[1], to, content)


async def deliver(server: Server, letters: Sequence[Letter]) -> list[Attempt]:
    """Hand letters over one after the other; a lost connection is opened again for the next one."""
    attempts: list[Attempt] = []
    connection = server.connection()
    try:
        for letter in letters:
            try:
                if not connection.is_connected:
                    await connection.connect()
            except (aiosmtplib.SMTPException, OSError) as error:
                # No server, or it does not let us in: no point in asking again for each letter.
                rest = letters[len(attempts) :]
                return attempts + [outcome(late.message, "failed", reason(error)) for late in rest]
            attempts.append(await hand_over(connection, letter))
    finally:
        await hang_up(connection)
    return attempts


async def hand_over(connection: aiosmtplib.SMTP, letter: Letter) -> Attempt:
    """One letter over an open connection."""
    try:
        await connection.send_message(letter.content, sender=letter.sender, recipients=[letter.to])
    except aiosmtplib.SMTPNotSupported:
        # A non-ASCII address, and a server that cannot write to one (RFC 6531).
        return outcome(letter.message, "refused", "address_not_supported")
    except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError) as error:
        code = reply_code(error)
        return outcome(letter.message, "refused" if code in PERMANENT else "failed", f"smtp_{code}")
    except (aiosmtplib.SMTPException, OSError) as error:
        return outcome(letter.message, "failed", reason(error))
    return outcome(letter.message, "sent")


async def hang_up(connection: aiosmtplib.SMTP) -> None:
    """Say goodbye; a server that does not answer is left as it is."""
    if connection.is_connected:
        try:
            await connection.quit()
        except (aiosmtplib.SMTPException, OSError):
            connection.close()


def reply_code(error: aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPDataError) -> int:
    """The server's reply code. Each letter has one recipient."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return error.recipients[0].code
    return error.code


def reason(error: Exception) -> str:
    """A failure in a word that can be kept: a server's own words may quote the address."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"smtp_{error.code}"
    return "unreachable"


def outcome(
    message: DueMessage,
    result: Literal["sent", "failed", "refused"],
    why: str = "",
    *,
    via: Literal["smtp", "mailbox"] = "smtp",
) -> Attempt:
    """How the attempt that was claimed for `message` ended."""
    return Attempt(
        message_id=message.message_id,
        order_id=message.order_id,
        attempt=message.attempts + 1,
        result=result,
        via=via,
        reason=why,
    )
