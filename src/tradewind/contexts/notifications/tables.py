"""Rows and results of notifications."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.contexts.notifications.events import Kind


class MessageState(Struct, frozen=True):
    """What deciding about an order's messages needs of each row."""

    message_id: str
    order_id: str
    kind: Kind
    status: Literal["queued", "sent", "dead"]
    attempts: int


class NewMessage(Struct, frozen=True, kw_only=True):
    """A message to be kept. `sequence` is that of its event, where it is sent by being kept."""

    message_id: str
    order_id: str
    kind: Kind
    person: str
    contact: str
    total_minor: int
    currency: str
    template: str
    sequence: int | None


class Settled(Struct, frozen=True, kw_only=True):
    """A queued message that changes: sent, dead, or due again at `due_at`."""

    message_id: str
    status: Literal["queued", "sent", "dead"]
    via: Literal["smtp", "mailbox"] | None
    due_at: datetime | None
    reason: str | None
    sequence: int | None


class DueMessage(Struct, frozen=True):
    """A message claimed for an attempt: what its sender needs to write and address it."""

    message_id: str
    order_id: str
    kind: Kind
    person: str
    total_minor: int
    currency: str
    template: str
    header_id: str
    attempts: int  # finished before this one
    left_behind: bool = False  # by a process that went away


class KeptMail(Struct, frozen=True):
    """A row of the embedded mailbox: tokens and amounts, no text."""

    message_id: str
    order_id: str
    kind: Kind
    person: str
    total_minor: int
    currency: str
    template: str
    header_id: str
    sent_at: datetime


class ToldMessage(Struct, frozen=True):
    """A message as it is told to whom it went to; its text follows from the template."""

    id: str
    order_id: str
    kind: Kind
    template: str
    status: str
    via: str | None
    queued_at: datetime
    settled_at: datetime | None


class Mail(Struct, frozen=True, kw_only=True):
    """A mail as it stands in the embedded mailbox. After erasure `to` and the texts are null."""

    id: str
    to: str | None
    subject: str
    text: str | None
    html: str | None
    kind: Kind
    order_id: str | None  # null where it is about an account
    sent_at: datetime
    message_id: str  # the Message-ID header
    erased: bool = False


class Mails(Struct, frozen=True, kw_only=True):
    """A page of the mailbox, newest first."""

    items: list[Mail]
    next: str | None


class MailboxQuery(Struct, frozen=True, kw_only=True):
    """`to` is an exact e-mail address; without it, everybody's mail."""

    to: Annotated[str, Meta(max_length=320)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
