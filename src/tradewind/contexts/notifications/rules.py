"""Which messages there are, what they say, and when to give up on one.

Invariants: one message per order and kind; it settles once, as sent or dead; only settling is
announced, so the sequence of an order's messages has no gap. Times come in, nothing is read.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from string import Template

from msgspec import Struct

from tradewind.contexts.notifications.commands import Attempt
from tradewind.contexts.notifications.events import Kind, MessageEvent, MessageFailed, MessageSent
from tradewind.contexts.notifications.tables import MessageState, NewMessage, Settled
from tradewind.kernel.money import format_minor

# A claim outlives a slow batch: 100 mails over 4 connections at 4 s each are 100 s. A sender that
# died is replaced after it.
CLAIM_S = 120
CLAIM_COUNT_MAX = 100
# A sender is woken by the commit that queues a mail, or by the second sweep after it at the latest.
WOKEN_WITHIN_S = 10

# 30 s doubling to 4 h: 16 attempts end after about 32 hours, longer than a mail server is
# usually down, short enough that "your order is confirmed" is still news.
RETRY_DELAY_S_MIN = 30
RETRY_DELAY_S_MAX = 4 * 3_600
ATTEMPTS_MAX = 16


class Request(Struct, frozen=True, kw_only=True):
    """A wish to tell somebody something, from an event; `order_id` may be an account's errand."""

    order_id: str
    kind: Kind
    template: str
    person: str
    contact: str | None
    total_minor: int
    currency: str


class Posted(Struct, frozen=True, kw_only=True):
    """Messages to keep, and what to announce of them."""

    messages: Sequence[NewMessage]
    events: Sequence[MessageEvent]


class Recorded(Struct, frozen=True, kw_only=True):
    """Queued messages that change, one entry each, and what to announce of them."""

    changes: Sequence[Settled]
    events: Sequence[MessageEvent]


class Text(Struct, frozen=True, kw_only=True):
    """What a mail says."""

    subject: str
    text: str
    html: str


def post(
    requests: Sequence[Request],
    states: Sequence[MessageState],
    *,
    message_ids: Sequence[str],
    to_mailbox: bool,
    now: datetime,
) -> Posted:
    """One message per order and kind; nobody is written to whose address is not known.

    With the embedded mailbox a message is sent by being kept: it settles at once.
    """
    known = {(state.order_id, state.kind) for state in states}
    settled = settled_counts(states)
    messages: list[NewMessage] = []
    events: list[MessageEvent] = []
    for request, message_id in zip(requests, message_ids, strict=True):
        if request.contact is None or (request.order_id, request.kind) in known:
            continue
        known.add((request.order_id, request.kind))
        sequence = None
        if to_mailbox:
            sequence = settled[request.order_id] = settled.get(request.order_id, 0) + 1
            events.append(
                MessageSent(
                    sequence=sequence,
                    order_id=request.order_id,
                    message_id=message_id,
                    kind=request.kind,
                    via="mailbox",
                    sent_at=now,
                )
            )
        messages.append(
            NewMessage(
                message_id=message_id,
                order_id=request.order_id,
                kind=request.kind,
                person=request.person,
                contact=request.contact,
                total_minor=request.total_minor,
                currency=request.currency,
                template=request.template,
                sequence=sequence,
            )
        )
    return Posted(messages=messages, events=events)


def record(
    attempts: Sequence[Attempt], states: Sequence[MessageState], *, now: datetime
) -> Recorded:
    """Settle what was sent or refused, put off what failed, bury what failed too often.

    That a mail was sent is true whichever attempt says so; a failure counts only if no later
    attempt has begun. `states` hold every message of the orders concerned.
    """
    by_id = {state.message_id: state for state in states}
    settled = settled_counts(states)
    changes: dict[str, Settled] = {}
    events: list[MessageEvent] = []
    for attempt in attempts:
        state = by_id.get(attempt.message_id)
        if state is None or changed_for_good(state, changes):
            continue
        if attempt.result != "sent" and attempt.attempt != state.attempts:
            continue
        if attempt.result == "failed" and state.attempts < ATTEMPTS_MAX:
            changes[state.message_id] = Settled(
                message_id=state.message_id,
                status="queued",
                via=None,
                due_at=now + timedelta(seconds=retry_delay_s(state.attempts)),
                reason=attempt.reason,
                sequence=None,
            )
            continue
        sequence = settled[state.order_id] = settled.get(state.order_id, 0) + 1
        sent = attempt.result == "sent"
        changes[state.message_id] = Settled(
            message_id=state.message_id,
            status="sent" if sent else "dead",
            via=attempt.via if sent else None,
            due_at=None,
            reason=None if sent else attempt.reason,
            sequence=sequence,
        )
        events.append(settlement(attempt, state, sequence=sequence, now=now))
    return Recorded(changes=list(changes.values()), events=events)


def changed_for_good(state: MessageState, changes: Mapping[str, Settled]) -> bool:
    """Whether the message is settled, before this batch or in it."""
    change = changes.get(state.message_id)
    return (state.status if change is None else change.status) != "queued"


def settlement(
    attempt: Attempt, state: MessageState, *, sequence: int, now: datetime
) -> MessageEvent:
    """The announcement that a message is settled."""
    if attempt.result == "sent":
        return MessageSent(
            sequence=sequence,
            order_id=state.order_id,
            message_id=state.message_id,
            kind=state.kind,
            via=attempt.via,
            sent_at=now,
        )
    return MessageFailed(
        sequence=sequence,
        order_id=state.order_id,
        message_id=state.message_id,
        kind=state.kind,
        reason=attempt.reason,
        attempts=state.attempts,
    )


def settled_counts(states: Sequence[MessageState]) -> dict[str, int]:
    """By order, how many of its messages are settled: the last sequence announced."""
    counts: dict[str, int] = {}
    for state in states:
        if state.status != "queued":
            counts[state.order_id] = counts.get(state.order_id, 0) + 1
    return counts


def retry_delay_s(attempts: int) -> int:
    """How long to wait after that many failed attempts."""
    doubled: int = RETRY_DELAY_S_MIN * 2 ** (attempts - 1)
    return min(doubled, RETRY_DELAY_S_MAX)


def header_id(order_id: str, kind: Kind, mail_from: str) -> str:
    """The Message-ID of a mail: the same for every attempt, and for nothing else."""
    domain = mail_from.rpartition("@")[2].strip("<> ") or "localhost"
    return f"<{order_id}.{kind}@{domain}>"


# A text is never edited once it was sent: add a version, so that old mails read as they went out.
TEXTS: Mapping[str, tuple[str, str, str]] = {
    "confirmed.1": (
        "Your order $order_id is confirmed",
        "Thank you for your order. We have put your items aside.",
        "The total of $total is charged to your card within a minute.",
    ),
    "cancelled.1": (
        "Your order $order_id is cancelled",
        "Your order was cancelled. Nothing will be sent.",
        "The total of $total will not be charged; what was charged already is paid back.",
    ),
    "capture_failed.1": (
        "Your order $order_id is cancelled: the payment failed",
        "Your bank did not release the payment for your order, so we had to cancel it.",
        "The total of $total was not charged. You are welcome to order again.",
    ),
}

PLAIN = Template(
    "$greeting\n\n$opening\n\n  Order   $order_id\n  Total   $total\n\n$money\n\n"
    "The shop you ordered in can show how it stands, with the order's token:\n$link\n"
)
HTML = Template(
    '<!doctype html>\n<html lang="en"><body>\n<p>$greeting</p>\n<p>$opening</p>\n'
    "<table><tr><th>Order</th><td>$order_id</td></tr>"
    "<tr><th>Total</th><td>$total</td></tr></table>\n"
    "<p>$money</p>\n<p>The shop you ordered in can show how it stands, with "
    "the token: $link</p>\n</body></html>\n"
)


def write_text(
    template: str,
    *,
    name: str | None,
    order_id: str,
    total_minor: int,
    currency: str,
    shop_url: str,
    token: str = "",
    account_url: str = "",
) -> Text:
    """A mail in words. `name` is greeted if it is known; it is escaped in HTML.

    `token` confirms the errand of an account; `account_url` is where the shop's pages for it are.
    """
    if template in LETTERS:
        return write_account_text(template, name=name, token=token, account_url=account_url)
    subject, opening, money = TEXTS[template]
    total = f"{format_minor(total_minor, currency)} {currency}"
    facts = {"order_id": order_id, "total": total}
    parts = {
        **facts,
        "greeting": f"Hello {name}," if name else "Hello,",
        "opening": opening,
        "money": Template(money).substitute(facts),
        "link": f"{shop_url}/v1/orders/{order_id}",
    }
    return Text(
        subject=Template(subject).substitute(facts),
        text=PLAIN.substitute(parts),
        html=HTML.substitute({key: escape(value) for key, value in parts.items()}),
    )


class LetterText(Struct, frozen=True, kw_only=True):
    """What a mail about an account says; `page` is where its token is used, if it has one."""

    subject: str
    lines: tuple[str, ...]
    page: str = ""


IGNORE = "If this was not you, do nothing: without this mail nobody can go on."
ACT = "If this was not you, replace your password at once and sign out everywhere."
# As of orders: a text that was sent is never edited.
LETTERS: Mapping[str, LetterText] = {
    "verify_address.1": LetterText(
        subject="Please confirm your e-mail address",
        lines=(
            "Somebody signed up with this address. Confirm within a day that it is yours.",
            IGNORE,
        ),
        page="verify",
    ),
    "known_address.1": LetterText(
        subject="You have an account already",
        lines=(
            "Somebody tried to use this address for an account, and it belongs to yours.",
            "If it was you: sign in, or have your password replaced if you forgot it.",
        ),
    ),
    "reset_password.1": LetterText(
        subject="Replace your password",
        lines=("Somebody asked for a new password. The link is good for an hour, once.", IGNORE),
        page="password",
    ),
    "new_address.1": LetterText(
        subject="Please confirm your new e-mail address",
        lines=("Your account is to have this address. Confirm within a day.", IGNORE),
        page="email",
    ),
    "address_changed.1": LetterText(
        subject="Your account has another e-mail address now",
        lines=("Mail about your account goes to another address from now on.", ACT),
    ),
    "password_changed.1": LetterText(
        subject="Your password was changed", lines=("Your account has a new password.", ACT)
    ),
    "second_factor_changed.1": LetterText(
        subject="Signing in has changed",
        lines=("The authenticator app of your account was added or taken away.", ACT),
    ),
}


def write_account_text(template: str, *, name: str | None, token: str, account_url: str) -> Text:
    """A mail about an account. The token stands behind a #: no server on the way logs it."""
    letter = LETTERS[template]
    lines = [f"Hello {name}," if name else "Hello,", *letter.lines]
    link = f"{account_url}/{letter.page}#token={token}" if letter.page else ""
    html = [f"<p>{escape(line)}</p>" for line in lines]
    if link:
        lines[2:2] = [link]
        html[2:2] = [f'<p><a href="{escape(link)}">{escape(link)}</a></p>']
    return Text(
        subject=letter.subject,
        text="\n\n".join(lines) + "\n",
        html=f'<!doctype html>\n<html lang="en"><body>\n{"".join(html)}\n</body></html>\n',
    )
