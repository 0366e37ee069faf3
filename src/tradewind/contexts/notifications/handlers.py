"""Load, decide, save: messages of orders, claims for sending, and how attempts ended."""

from collections.abc import Sequence
from datetime import timedelta

from tradewind.contexts.identity.events import LetterAsked
from tradewind.contexts.notifications import rules
from tradewind.contexts.notifications.commands import (
    ClaimMessages,
    MessagesAreDue,
    RecordAttempts,
)
from tradewind.contexts.notifications.tables import (
    DueMessage,
    MessageState,
    NewMessage,
    Settled,
)
from tradewind.contexts.orders.events import OrderCancelled, OrderConfirmed
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import NOTHING, Decision, Reconciled
from tradewind.platform.database.transaction import Transaction

# Both kinds of one order are decided under one lock: they share the order's sequence.
LOCK = "notifications.order"

NO_CURRENCY = "X" * 3  # ISO 4217's code for a message about no money

# Served by the unique key (order_id, kind).
MESSAGES_OF_ORDERS = """
    SELECT message_id, order_id, kind, status, attempts
      FROM notifications.messages WHERE order_id = ANY($1::text[])
"""


async def write_messages(
    tx: Transaction, events: Sequence[OrderConfirmed | OrderCancelled]
) -> Decision:
    """Queue a mail for each confirmed or cancelled order, or put it in the embedded mailbox.

    Safe to repeat: an order has one message of a kind, and one that exists is left alone. A
    confirmation is the first that an order is told, so what is there is read only when that proves
    wrong. Where a mail server is used, those who record its answers number messages too.
    """
    order_ids = [event.order_id for event in events]
    to_mailbox = not tx.settings.smtp_url
    if not to_mailbox:
        await tx.lock(LOCK, order_ids)
    states: Sequence[MessageState] = ()
    if tx.anew or not to_mailbox or not all(isinstance(e, OrderConfirmed) for e in events):
        states = await tx.fetch(MESSAGES_OF_ORDERS, order_ids, into=MessageState)
    return post(tx, [requested(event) for event in events], states, to_mailbox=to_mailbox)


def post(
    tx: Transaction,
    requests: Sequence[rules.Request],
    states: Sequence[MessageState],
    *,
    to_mailbox: bool,
) -> Decision:
    """Keep what is to be told, and wake the sender."""
    posted = rules.post(
        requests,
        states,
        # In the order of the events: mails of one batch are listed as they happened.
        message_ids=sorted(new_id("msg") for _ in requests),
        to_mailbox=to_mailbox,
        now=tx.now,
    )
    if not posted.messages:
        return NOTHING
    keep_messages(tx, posted.messages)
    return Decision(events=posted.events, signals=() if to_mailbox else (MessagesAreDue(),))


async def write_letters(tx: Transaction, events: Sequence[LetterAsked]) -> Decision:
    """Queue mails about accounts, or put them in the embedded mailbox. Nobody named, no mail.

    Safe to repeat: an errand has one message, and one that exists is left alone.
    """
    wanted = [event for event in events if event.person is not None and event.contact is not None]
    if not wanted:
        return NOTHING
    errands = [event.errand_id for event in wanted]
    to_mailbox = not tx.settings.smtp_url
    if not to_mailbox:
        await tx.lock(LOCK, errands)
    states = await tx.fetch(MESSAGES_OF_ORDERS, errands, into=MessageState)
    requests = [
        rules.Request(
            order_id=event.errand_id,
            kind="account",
            template=f"{event.letter}.1",
            person=event.person or "",
            contact=event.contact,
            total_minor=0,
            currency=NO_CURRENCY,
        )
        for event in wanted
    ]
    return post(tx, requests, states, to_mailbox=to_mailbox)


def requested(event: OrderConfirmed | OrderCancelled) -> rules.Request:
    """What an event of orders makes us tell its customer."""
    if isinstance(event, OrderConfirmed):
        template = "confirmed.1"
    else:
        template = "capture_failed.1" if event.code == "capture_failed" else "cancelled.1"
    return rules.Request(
        order_id=event.order_id,
        kind="confirmation" if isinstance(event, OrderConfirmed) else "cancellation",
        template=template,
        person=event.customer,
        contact=event.contact,
        total_minor=event.total_minor,
        currency=event.currency,
    )


# A message with a sequence is sent by being kept: status, via and settled_at follow from it.
KEEP_MESSAGES = """
    INSERT INTO notifications.messages
           (message_id, order_id, kind, person, contact, total_minor, currency, template,
            header_id, status, via, attempts, due_at, sequence, queued_at, settled_at)
    SELECT m.message_id, m.order_id, m.kind, m.person, m.contact, m.total_minor, m.currency,
           m.template, m.header_id,
           CASE WHEN m.sequence IS NULL THEN 'queued' ELSE 'sent' END,
           CASE WHEN m.sequence IS NULL THEN NULL ELSE 'mailbox' END,
           CASE WHEN m.sequence IS NULL THEN 0 ELSE 1 END,
           CASE WHEN m.sequence IS NULL THEN $11::timestamptz END,
           m.sequence, $11::timestamptz,
           CASE WHEN m.sequence IS NULL THEN NULL ELSE $11::timestamptz END
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                  $7::text[], $8::text[], $9::text[], $10::smallint[])
           AS m (message_id, order_id, kind, person, contact, total_minor, currency, template,
                 header_id, sequence)
"""


def keep_messages(tx: Transaction, messages: Sequence[NewMessage]) -> None:
    """Insert messages; the unique key (order_id, kind) is the last word on "once"."""
    tx.write(
        KEEP_MESSAGES,
        [m.message_id for m in messages],
        [m.order_id for m in messages],
        [m.kind for m in messages],
        [m.person for m in messages],
        [m.contact for m in messages],
        [m.total_minor for m in messages],
        [m.currency for m in messages],
        [m.template for m in messages],
        [rules.header_id(m.order_id, m.kind, tx.settings.mail_from) for m in messages],
        [m.sequence for m in messages],
        tx.now,
        expect=len(messages),
    )


# Served by messages_due (due_at) WHERE status = 'queued': oldest first. A claim takes the reason
# away and a failure brings one: a message that was claimed and has none was left by its sender.
# One that was never claimed and has waited for long: nobody was woken for it.
DUE_MESSAGES = """
    SELECT message_id, order_id, kind, person, total_minor, currency, template, header_id, attempts,
           CASE attempts WHEN 0 THEN due_at < $1::timestamptz - $3::float8 * interval '1 s'
                         ELSE reason IS NULL END AS left_behind
      FROM notifications.messages
     WHERE status = 'queued' AND due_at <= $1
     ORDER BY due_at LIMIT $2
"""

CLAIM = """
    UPDATE notifications.messages AS m
       SET attempts = m.attempts + 1, due_at = $3, reason = NULL
      FROM unnest($1::text[], $2::smallint[]) AS c (message_id, attempts)
     WHERE m.message_id = c.message_id AND m.attempts = c.attempts AND m.status = 'queued'
"""


async def claim_messages(tx: Transaction, commands: Sequence[ClaimMessages]) -> Decision:
    """Hand out due messages, each to one sender, and count the attempt before it is made.

    Safe to repeat: a claim that nobody works on lapses and the messages are due again.
    """
    await tx.lock("notifications.claims", ["all"])
    wanted = sum(command.count_max for command in commands)
    due = await tx.fetch(DUE_MESSAGES, tx.now, wanted, rules.WOKEN_WITHIN_S, into=DueMessage)
    left = [
        Reconciled(case="queued_mail", id=message.message_id, order_id=message.order_id)
        for message in due
        if message.left_behind
    ]
    if due:
        tx.write(
            CLAIM,
            [message.message_id for message in due],
            [message.attempts for message in due],
            tx.now + timedelta(seconds=rules.CLAIM_S),
            expect=len(due),
        )
    outcomes = []
    for command in commands:
        outcomes.append(tuple(due[: command.count_max]))
        due = due[command.count_max :]
    return Decision(outcomes=outcomes, reconciled=left)


SETTLE = """
    UPDATE notifications.messages AS m
       SET status = s.status, via = s.via, due_at = s.due_at, reason = s.reason,
           sequence = s.sequence,
           settled_at = CASE WHEN s.status = 'queued' THEN NULL ELSE $7::timestamptz END
      FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[],
                  $6::smallint[])
           AS s (message_id, status, via, due_at, reason, sequence)
     WHERE m.message_id = s.message_id AND m.status = 'queued'
"""


async def record_attempts(tx: Transaction, commands: Sequence[RecordAttempts]) -> Decision:
    """Settle messages, or put them off. Safe to repeat: a settled message stays as it is."""
    attempts = [attempt for command in commands for attempt in command.attempts]
    order_ids = sorted({attempt.order_id for attempt in attempts})
    await tx.lock(LOCK, order_ids)
    states = await tx.fetch(MESSAGES_OF_ORDERS, order_ids, into=MessageState)
    recorded = rules.record(attempts, states, now=tx.now)
    if recorded.changes:
        save_settled(tx, recorded.changes)
    return Decision(events=recorded.events, outcomes=[None] * len(commands))


def save_settled(tx: Transaction, changes: Sequence[Settled]) -> None:
    """Write what became of queued messages."""
    tx.write(
        SETTLE,
        [change.message_id for change in changes],
        [change.status for change in changes],
        [change.via for change in changes],
        [change.due_at for change in changes],
        [change.reason for change in changes],
        [change.sequence for change in changes],
        tx.now,
        expect=len(changes),
    )


# Served by messages_due.
ANY_DUE = """
    SELECT EXISTS (
        SELECT FROM notifications.messages WHERE status = 'queued' AND due_at <= $1)
"""


async def find_due_messages(tx: Transaction) -> Decision:
    """Wake the sender for retries, and for what a dead process had claimed. Writes nothing."""
    if await tx.fetch_value(ANY_DUE, tx.now):
        return Decision(signals=(MessagesAreDue(),))
    return NOTHING
